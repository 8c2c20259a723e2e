"""The five ways of working, in the order in which the timeline has them."""

from typing import Any

from lyredb.experiments.flights.phases.base import Phase, Step, WrongAnswer
from lyredb.experiments.flights.phases.cache import Cache
from lyredb.experiments.flights.phases.graph import Graph
from lyredb.experiments.flights.phases.mirror import Mirror
from lyredb.experiments.flights.phases.olap import Olap
from lyredb.experiments.flights.phases.oltp import Oltp
from lyredb.experiments.flights.phases.timeseries import TimeSeries

PHASES: dict[str, type[Phase[Any]]] = {phase.name: phase for phase in (Oltp, Cache, TimeSeries, Graph, Olap)}

__all__ = ["PHASES", "Mirror", "Phase", "Step", "WrongAnswer"]
