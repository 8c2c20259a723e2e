"""What workloads draw at random: the same from the same seed, on every machine."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

# Numbers are drawn so many at a time, since one alone takes as long as an operation on a database.
_AT_ONCE = 4_096


class Draws:
    """Random numbers from a seed, and whatever else tells two of them apart."""

    def __init__(self, *seed: int) -> None:
        self._numbers = np.random.default_rng(seed)

    def one(self, choices: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """One of some."""
        shares = None if weights is None else [weight / sum(weights) for weight in weights]
        return choices[int(self._numbers.choice(len(choices), p=shares))]

    def share(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number between two, to four places."""
        return round(float(self._numbers.uniform(low, high)), 4)

    def size(self, low: int, high: int) -> int:
        """A whole number between two, as likely to be in any factor of ten as in any other."""
        return round(math.exp(self._numbers.uniform(math.log(low), math.log(high))))

    def below(self, high: int) -> int:
        """A whole number from 0 up to, and without, `high`."""
        return int(self._numbers.integers(high))

    def chances(self) -> Iterator[float]:
        """Endless numbers from 0 to 1."""
        while True:
            yield from self._numbers.random(_AT_ONCE).tolist()

    def uniform(self, count: int) -> Iterator[int]:
        """Endless numbers below `count`, each as likely."""
        while True:
            yield from self._numbers.integers(0, count, _AT_ONCE).tolist()

    def zipf(self, count: int, exponent: float, *, places: Sequence[int] | None = None) -> Iterator[int]:
        """Endless numbers below `count` by Zipf's law, as in YCSB: few of them often, and those anywhere among all.

        Args:
            count: How many different ones.
            exponent: How much more popular the popular ones are; 0 is as `uniform`.
            places: Which numbers are how popular, if several workers are to agree about it: see `shuffled`.
        """
        if exponent <= 0:
            yield from self.uniform(count)
        weights = np.cumsum(1.0 / np.arange(1, count + 1) ** exponent)
        total = float(weights[-1])
        order = np.array(self.shuffled(count) if places is None else places)
        while True:
            ranks = np.searchsorted(weights, self._numbers.random(_AT_ONCE) * total)
            yield from order[np.minimum(ranks, count - 1)].tolist()

    def shuffled(self, count: int) -> list[int]:
        """The numbers below `count` in some order."""
        return self._numbers.permutation(count).tolist()

    def payloads(self, low: int, high: int) -> Iterator[bytes]:
        """Endless values of so many bytes, that compress somewhat, as records do."""
        pool = self._numbers.integers(32, 96, high + 4_096, dtype=np.uint8).tobytes()
        while True:
            sizes = self._numbers.integers(low, high + 1, _AT_ONCE).tolist()
            begins = self._numbers.integers(0, 4_096, _AT_ONCE).tolist()
            for begin, size in zip(begins, sizes, strict=True):
                yield pool[begin : begin + size]
