"""What a family's operations cost the engine in a window, and one choice of settings against another.

Costs are the engine's own sampled times of operations, so that what a program does between them plays no part. Two
windows are compared under one mix, that of both together: a window with more scans in it is not a slower one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Distribution: TypeAlias = tuple[float, Iterable[tuple[float, float, int]]]
"""The sum of the values in nanoseconds, and of each bucket its lowest value, its highest and how many."""
Timings: TypeAlias = Mapping[str, Distribution]
"""One family's distributions by operation, as `_engine.Engine.timings` returns them: since the opening."""
Buckets: TypeAlias = dict[tuple[float, float], int]

# One in so many operations is timed.
_SAMPLED_EVERY = {"get": 256.0, "put": 64.0, "delete": 64.0, "batch": 16.0, "scan": 16.0, "scan_row": 16.0}
# From so many rows a scan on, scans are compared by the row: their lengths differ more than their costs.
_LONG_SCAN = 64.0
# Of one kind of operation, on either side: fewer samples say nothing about it.
_LEAST_SAMPLES = 4
# What is compared must be this part of what was spent.
_LEAST_COVERED = 0.7
# Few samples so many times above the median are of threads that waited for a processor, not for the engine.
_FAR = 4.0
_FEW, _FEW_SHARE, _FEW_OF_LITTLE = 2.0, 0.002, 0.125


@dataclass(frozen=True)
class Spent:
    """What was timed in a window, or in several.

    Attributes:
        buckets: By operation, how often which time occurred, in nanoseconds.
        scans, rows, batches, records: Counted, not sampled: scans and their rows, batches and their records.
        seconds: How long it lasted.
    """

    buckets: Mapping[str, Buckets] = field(default_factory=dict[str, Buckets])
    scans: float = 0.0
    rows: float = 0.0
    batches: float = 0.0
    records: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        merged = {kind: dict(buckets) for kind, buckets in self.buckets.items()}
        for kind, buckets in other.buckets.items():
            into = merged.setdefault(kind, {})
            for bounds, count in buckets.items():
                into[bounds] = into.get(bounds, 0) + count
        return Spent(
            merged,
            self.scans + other.scans,
            self.rows + other.rows,
            self.batches + other.batches,
            self.records + other.records,
            self.seconds + other.seconds,
        )

    @property
    def samples(self) -> int:
        """How many operations were timed."""
        return sum(sum(buckets.values()) for kind, buckets in self.buckets.items() if kind != "scan_row")

    @property
    def nanoseconds(self) -> float:
        """What all operations cost together, concluded from the samples."""
        return sum(_mean(buckets, math.inf) * self.often(kind) for kind, buckets in self.compared(self).items())

    def often(self, kind: str) -> float:
        """How many operations, or rows, what was timed stands for."""
        if kind == "scan_row":
            return self.rows
        return sum(self.buckets.get(kind, {}).values()) * _SAMPLED_EVERY[kind]

    def compared(self, both: Spent) -> dict[str, Buckets]:
        """The buckets of the operations by which `both` are told apart: of scans, whole ones or their rows."""
        without = "scan" if both.rows >= _LONG_SCAN * max(both.scans, 1.0) else "scan_row"
        return {kind: each for kind, each in self.buckets.items() if each and kind != without}

    @property
    def batches_by_record(self) -> float:
        """Batches for a record of theirs; 1 where there were none."""
        return self.batches / self.records if self.records > 0.0 and self.batches > 0.0 else 1.0


def between(earlier: Timings, later: Timings) -> dict[str, Buckets]:
    """What was timed between two readings of one family; nothing of a family that was made anew in between."""
    found: dict[str, Buckets] = {}
    for kind, (_, buckets) in later.items():
        if kind not in _SAMPLED_EVERY:
            continue
        before = earlier.get(kind, (0.0, ()))[1]
        if buckets == before:
            continue
        counts = {(low, high): count for low, high, count in buckets}
        for low, high, count in before:
            left = counts.get((low, high), 0) - count
            if left < 0:
                return {}
            if left:
                counts[low, high] = left
            else:
                counts.pop((low, high), None)
        if counts:
            found[kind] = counts
    return found


def log_ratio(usual: Spent, other: Spent) -> float | None:
    """By how much `other` is cheaper than `usual`: the logarithm of cost(usual) / cost(other) under one mix.

    Returns:
        Above 0 if `other` is cheaper; None if too little was timed to say.
    """
    both = usual + other
    left, right = usual.compared(both), other.compared(both)
    costs = [0.0, 0.0]
    covered = total = 0.0
    for kind, pooled in both.compared(both).items():
        limit = _limit(pooled)
        often = both.often(kind)
        total += _mean(pooled, limit) * often
        pair = left.get(kind, {}), right.get(kind, {})
        if min(sum(buckets.values()) for buckets in pair) < _LEAST_SAMPLES:
            continue
        covered += _mean(pooled, limit) * often
        for side, (buckets, spent) in enumerate(zip(pair, (usual, other), strict=True)):
            scale = spent.batches_by_record / both.batches_by_record if kind == "batch" else 1.0
            costs[side] += _mean(buckets, limit) * often * scale
    if min(costs) <= 0.0 or covered < _LEAST_COVERED * total:
        return None
    return math.log(costs[0] / costs[1])


def _mean(buckets: Buckets, limit: float) -> float:
    count = sum(buckets.values())
    return sum(min((low + high) / 2, limit) * each for (low, high), each in buckets.items()) / count if count else 0.0


def _limit(buckets: Buckets) -> float:
    """What the few slowest samples are cut to; if more are as slow, they count as what they are."""
    ordered = sorted(buckets.items())
    count = sum(each for _, each in ordered)
    seen, median = 0, 0.0
    for (low, high), each in ordered:
        seen += each
        median = (low + high) / 2
        if seen * 2 >= count:
            break
    few = int(min(count * _FEW_OF_LITTLE, _FEW + count * _FEW_SHARE))
    for (low, high), each in reversed(ordered):
        few -= each
        if few < 0:
            return max(_FAR * median, (low + high) / 2)
    return math.inf
