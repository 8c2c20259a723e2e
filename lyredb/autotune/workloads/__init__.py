"""Workloads of every kind, for fitting what recognises them and for judging what tunes for them.

A `Workload` is a description, drawn from a seed: `work.family(db, name)` makes a family for it, `work.load(family)`
fills that, and `work.steps(family, worker)` is the endless work of one of its `threads` workers. `Running` does all of
it, in threads.
"""

from lyredb.autotune.workloads.base import Steps, Workload
from lyredb.autotune.workloads.cache import Cache
from lyredb.autotune.workloads.counters import Counters
from lyredb.autotune.workloads.draws import Draws
from lyredb.autotune.workloads.graph import Graph
from lyredb.autotune.workloads.mixture import PURE, Mixture
from lyredb.autotune.workloads.olap import Olap
from lyredb.autotune.workloads.oltp import Oltp
from lyredb.autotune.workloads.other import Other
from lyredb.autotune.workloads.running import Running
from lyredb.autotune.workloads.timeseries import TimeSeries
from lyredb.autotune.workloads.variants import variants

__all__ = [
    "PURE",
    "Cache",
    "Counters",
    "Draws",
    "Graph",
    "Mixture",
    "Olap",
    "Oltp",
    "Other",
    "Running",
    "Steps",
    "TimeSeries",
    "Workload",
    "variants",
]
