"""How far back a cache reaches, in accesses, and which bytes of each family are then in it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeAlias

Points: TypeAlias = Sequence[tuple[int, float]]
"""A miss-ratio curve: sizes in bytes, rising from 0, and the miss ratio from each up to the next."""

# Points of a curve that lie closer together say nothing about a plan.
_LEAST_FALL = 1 / 256
# Sizes beyond which a curve no longer rises: for the interpolation only.
_NOTHING_MISSED = 1e-9


class Reach:
    """One family's curve, by the number of accesses that a cache of least recent use looks back.

    While a cache fills, only misses make it grow: looking a little further back adds as many bytes as the cache of that
    size would miss (Xiang, Ding, Luo and Bao, "HOTL: a Higher Order Theory of Locality", ASPLOS '13).
    """

    def __init__(self, points: Points, bytes_an_access: float) -> None:
        """`bytes_an_access`: what one access in the database, to any family, asks for of this curve, on the average."""
        self._sizes, self._ratios, self.times = [0.0], [1.0], [0.0]
        self._growth = max(bytes_an_access, _NOTHING_MISSED)
        for size, ratio in points:
            if ratio <= self._ratios[-1] - _LEAST_FALL or (size, ratio) == points[-1]:
                self._go_on_to(float(size), ratio)

    def _go_on_to(self, size: float, ratio: float) -> None:
        if size > self._sizes[-1]:
            speed = self._growth * max(self._ratios[-1], _NOTHING_MISSED)
            self.times.append(self.times[-1] + (size - self._sizes[-1]) / speed)
            self._sizes.append(size)
            self._ratios.append(ratio)
        else:
            self._ratios[-1] = ratio

    def at(self, time: float) -> tuple[float, float]:
        """After so many accesses of the database: the bytes in the cache, and the miss ratio with these."""
        index = bisect_right(self.times, time) - 1
        ratio = self._ratios[index]
        if index == len(self.times) - 1 and ratio <= _LEAST_FALL:
            # All there is: what still misses at the end of a curve comes once, and is not known to take room.
            return self._sizes[index], ratio
        return self._sizes[index] + (time - self.times[index]) * self._growth * ratio, ratio


def time_when(reaches: Sequence[Reach], weights: Sequence[float], start: float, size: float) -> float:
    """How far back a cache of `size` bytes reaches that several families share, each with a weight.

    From `start` on: what is more recent takes none of its room. Infinite, if it is larger than all there is.
    """
    if size <= 0 or math.isinf(start):
        return start
    before = [reach.at(start)[0] for reach in reaches]

    def filled(time: float) -> float:
        return sum(
            weight * (reach.at(time)[0] - at_start)
            for reach, weight, at_start in zip(reaches, weights, before, strict=True)
        )

    times = sorted({start, *(time for reach in reaches for time in reach.times if time > start)})
    low, high = 0, len(times) - 1
    if filled(times[high]) <= size:
        return math.inf
    while high - low > 1:
        middle = (low + high) // 2
        if filled(times[middle]) <= size:
            low = middle
        else:
            high = middle
    first, last = filled(times[low]), filled(times[high])
    return times[low] + (times[high] - times[low]) * (size - first) / max(last - first, _NOTHING_MISSED)
