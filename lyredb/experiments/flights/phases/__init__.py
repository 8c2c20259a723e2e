"""The five ways of working, in the order in which the demo shows them."""

from lyredb.experiments.flights.phases.base import Phase, Step, WrongAnswer
from lyredb.experiments.flights.phases.cache import Cache
from lyredb.experiments.flights.phases.graph import Graph
from lyredb.experiments.flights.phases.olap import Olap
from lyredb.experiments.flights.phases.oltp import Oltp
from lyredb.experiments.flights.phases.timeseries import TimeSeries

PHASES: dict[str, type[Phase]] = {phase.name: phase for phase in (Oltp, Olap, Cache, TimeSeries, Graph)}

__all__ = ["PHASES", "Phase", "Step", "WrongAnswer"]
