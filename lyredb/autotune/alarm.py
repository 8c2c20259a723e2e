"""Tells that the work of a family has changed.

Each window is compared with what the windows since the last change were like, on the average, in units of what is usual
between windows of one workload. Two sums are kept. The quick one (CUSUM) adds up by how much windows are farther off
than usual: one odd window never is enough, two in a row that are far off are. The slow one looks at how far the average
has moved away from where it was after the last change: a drift too slow to make any window odd.
"""

from __future__ import annotations

from collections import deque
from functools import cache

import numpy as np

from lyredb.autotune import table
from lyredb.autotune.features import FEATURES, Vector
from lyredb.autotune.table import Table

# The least that is taken for usual between windows of one workload: of shares, and of logarithms.
_LEAST_SHARE, _LEAST_LOG = 0.01, 0.1
# What is usual, as the table has it, counts as so many windows of the workload itself.
_PRIOR_WINDOWS = 6.0
# No feature may be farther off than so many times what is usual.
_MOST_OFF = 8.0
# How far off a window is usual, and how many times that the sum must come to. A window adds less than a whole alarm.
_ALLOWED, _THRESHOLD, _MOST_ADDED = 1.6, 2.0, 1.2
# The average is of about so many windows, and the short one, for drifts, of so many.
_MEMORY, _SHORT_MEMORY = 100.0, 12.0
# A window is learnt from so many windows later: if that was no shift, then what was odd about it is usual after all.
_DELAY = 3
# So many windows after a change make the first average; then drifts are looked for from here on.
_FIRST, _SETTLED = 3, 12
_DRIFT = 1.5


@cache
def usual() -> Vector:
    """What is usual between windows of one workload, by feature, as the shipped table has it."""
    return deviations(table.load())


def deviations(source: Table) -> Vector:
    """By how much windows of a workload differ from their median, by feature (root of the mean square)."""
    squares = np.zeros(len(FEATURES))
    for workload in range(len(source.digests)):
        rows = source.of(workload)
        squares += np.square(rows - np.median(rows, axis=0)).sum(axis=0)
    least = [_LEAST_SHARE if feature.unit == "share" else _LEAST_LOG for feature in FEATURES]
    return np.maximum(np.sqrt(squares / max(1, len(source))), least)


class ShiftAlarm:
    """Sees the windows of one family, one after the other.

    Attributes:
        statistic: How near it is to an alarm, or beyond: 1 is one.
    """

    statistic: float

    def __init__(self, deviation: Vector | None = None) -> None:
        """An alarm that has seen nothing.

        Args:
            deviation: What is usual, by feature, as of `deviations`; None: as of the shipped table.
        """
        self._prior: Vector = np.square(usual() if deviation is None else deviation)
        self.reset()

    def reset(self) -> None:
        """Forgets everything: the next windows are the new work."""
        self._first: list[Vector] = []
        self._windows = 0
        self._waiting: deque[tuple[Vector, float]] = deque()
        self._sum = self._drift = 0.0
        self.statistic = 0.0

    def see(self, vector: Vector) -> bool:
        """Takes the next window with enough work in it; True if the work is known to have changed in it.

        After True it has forgotten what was before: this window is the first one of the new work.
        """
        if len(self._first) < _FIRST:
            self._first.append(vector)
            if len(self._first) == _FIRST:
                self._begin()
            return False
        variance = self._variance * (1.0 + 1.0 / min(self._windows, _MEMORY))
        off = _distance(vector - self._average, variance)
        self._sum = max(0.0, self._sum + min(off - _ALLOWED, _MOST_ADDED))
        self._waiting.append((vector, off))
        if len(self._waiting) > _DELAY:
            earlier, was_off = self._waiting.popleft()
            if self._sum == 0.0 or was_off < _ALLOWED:
                self._learn(earlier)
        self.statistic = max(self._sum / _THRESHOLD, self._drift)
        if self.statistic < 1.0:
            return False
        seen = self.statistic
        self.reset()
        self._first.append(vector)
        self.statistic = seen
        return True

    def _begin(self) -> None:
        first = np.array(self._first)
        self._average: Vector = np.median(first, axis=0)
        self._short: Vector = self._average
        self._anchor: Vector | None = None
        self._windows = len(first)
        self._variance: Vector = np.array(self._prior)

    def _learn(self, vector: Vector) -> None:
        """Adds a window of the same work; and sees how far all have drifted, 1 being too far."""
        self._windows += 1
        new = vector - self._average
        weight = 1.0 / (_PRIOR_WINDOWS + min(self._windows, _MEMORY))
        self._variance = np.maximum((1.0 - weight) * self._variance + weight * np.square(new), self._prior / 16)
        self._average = self._average + new / min(self._windows, _MEMORY)
        self._short = self._short + (vector - self._short) / min(self._windows, _SHORT_MEMORY)
        if self._anchor is None:
            if self._windows >= _SETTLED:
                self._anchor = self._short
            return
        self._drift = _distance(self._short - self._anchor, self._variance) / _DRIFT


def _distance(difference: Vector, variance: Vector) -> float:
    """How far off a window is, over all features: 1 is usual."""
    return float(np.sqrt(np.minimum(np.square(difference) / variance, _MOST_OFF**2).mean()))
