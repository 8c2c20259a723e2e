"""Many workloads, from one seed."""

from __future__ import annotations

from lyredb.autotune.workloads.base import Workload
from lyredb.autotune.workloads.counters import Counters
from lyredb.autotune.workloads.draws import Draws
from lyredb.autotune.workloads.mixture import PURE, Mixture
from lyredb.autotune.workloads.other import Other

# Of so many variants, how many are mixtures, and how many of no kind; the rest is of the kinds in equal parts.
# Counters, a sort of oltp of its own, come beside.
_MIXTURES, _OTHERS = 0.5714, 0.0476
_COUNTERS = 0.25


def variants(count: int, seed: int, *, mixtures: float = _MIXTURES, others: float = _OTHERS) -> list[Workload]:
    """Workloads of all kinds, in random order.

    Args:
        count: How many, about; there is at least one of each pure kind.
        seed: The same seed gives the same workloads.
        mixtures: The share of `Mixture`.
        others: The share of `Other`.
    """
    made: list[tuple[float, Workload]] = []
    each = max(1, round(count * (1 - mixtures - others) / len(PURE)))
    wanted = [*((kind, each) for kind in PURE), (Mixture, round(count * mixtures)), (Other, round(count * others))]
    wanted.append((Counters, round(each * _COUNTERS)))
    for number, (kind, many) in enumerate(wanted):
        for variant in range(many):
            draws = Draws(seed, number, variant)
            made.append((draws.share(), kind.drawn(draws)))
    return [workload for _, workload in sorted(made, key=lambda pair: pair[0])]
