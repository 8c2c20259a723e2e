"""New York's flights of 2013, worked on in five ways, each under the default and under its preset."""

from lyredb.experiments.flights.phases import PHASES, WrongAnswer
from lyredb.experiments.flights.report import Report
from lyredb.experiments.flights.runner import Options, run

__all__ = ["PHASES", "Options", "Report", "WrongAnswer", "run"]
