"""New York's flights of 2013: work that shifts, on a database that is tuned while it runs, and on others beside it."""

from lyredb.experiments.flights.arms import ARMS
from lyredb.experiments.flights.phases import PHASES, WrongAnswer
from lyredb.experiments.flights.report import Best, Report, Row
from lyredb.experiments.flights.runner import Options, run

__all__ = ["ARMS", "PHASES", "Best", "Options", "Report", "Row", "WrongAnswer", "run"]
