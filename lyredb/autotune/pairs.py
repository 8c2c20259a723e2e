"""Confidence in a gain while it is being measured, valid whenever one looks.

A pair is the logarithm of cost(default) / cost(candidate) in two neighbouring stretches of time, in random order. If
both are the same, its distribution is symmetric about zero, whatever else the machine does.

The bounds are those of a bettor's capital, as in Waudby-Smith and Ramdas, "Estimating means of bounded random variables
by betting" (Journal of the Royal Statistical Society B, 2024). Whoever bets, before each pair, that its mean is above m
keeps on average what he has if it is not; his capital exceeds 1 / alpha with a probability of at most alpha, ever. So
one may look after each pair and stop when one likes. Stakes follow the pairs before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BOUND = 0.2
"""Pairs are cut to this on either side, a factor of 1.22: one wild pair decides nothing."""
ALPHA = 0.05
"""How often the interval misses the mean, at most; each side half of it."""

_MEANS = np.linspace(-BOUND, BOUND, 81)
_WANTED = math.log(2.0 / ALPHA)
# The largest stake loses so much of the capital in the worst case.
_BOLDEST = 0.95
# What is thought of the pairs before the first: a small gain, in some noise.
_EXPECTED, _EXPECTED_WEIGHT = 0.05, 2.0
_NOISE = 0.05


@dataclass(frozen=True)
class Gain:
    """An interval of 95 % of a logarithm of cost(default) / cost(candidate), and the mean."""

    low: float
    middle: float
    high: float

    def ratios(self) -> tuple[float, float, float]:
        """The same as ratios of costs: 1.05 is 5 % cheaper."""
        return math.exp(self.low), math.exp(self.middle), math.exp(self.high)


class Pairs:
    """What a number of pairs says about their mean."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = self._squares = self._uncut = 0.0
        # For each mean of the grid, the logarithm of the capital of who bets that the pairs' is above, or below.
        self._above = np.zeros(len(_MEANS))
        self._below = np.zeros(len(_MEANS))
        self.last: tuple[float, ...] = ()

    def add(self, log_ratio: float) -> None:
        """Counts one pair."""
        cut = min(max(log_ratio, -BOUND), BOUND)
        self._above += np.log1p(self._stakes(1.0) * (cut - _MEANS))
        self._below += np.log1p(self._stakes(-1.0) * (_MEANS - cut))
        self._count += 1
        self._sum += cut
        self._squares += cut * cut
        self._uncut += log_ratio
        self.last = (*self.last[-1:], log_ratio)

    def _stakes(self, side: float) -> NDArray[np.float64]:
        weight = self._count + _EXPECTED_WEIGHT
        mean = (self._sum + side * _EXPECTED * _EXPECTED_WEIGHT) / weight
        spread = self._squares - 2 * mean * self._sum + self._count * mean * mean
        variance = (spread + _EXPECTED_WEIGHT * _NOISE**2) / weight
        ahead = side * (mean - _MEANS)
        room = np.maximum(BOUND + side * _MEANS, 1e-6)
        return np.minimum(np.maximum(ahead / (variance + ahead * ahead), 0.0), _BOLDEST / room)

    def __len__(self) -> int:
        return self._count

    @property
    def mean(self) -> float:
        """Of the pairs so far, each cut to the bound; 0 without any."""
        return self._sum / self._count if self._count else 0.0

    @property
    def gain(self) -> Gain:
        """The interval, of pairs cut to the bound, and the mean of the pairs as they were."""
        low = float(_MEANS[_run(self._above >= _WANTED)])
        high = float(-_MEANS[_run(self._below[::-1] >= _WANTED)])
        middle = self._uncut / self._count if self._count else 0.0
        # Beyond the bound nothing is known.
        return Gain(min(low, middle), middle, max(high, middle) if high < BOUND else max(BOUND, 2 * middle - low))


def _run(flags: NDArray[np.bool_]) -> int:
    """How many are true before the first that is not, but for the last."""
    return int(flags[:-1].argmin()) if not flags[:-1].all() else len(flags) - 1
