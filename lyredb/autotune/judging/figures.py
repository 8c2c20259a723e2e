"""What is wanted, and what was found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lyredb.autotune.evaluation import Estimate
from lyredb.autotune.evaluation_text import Grid

_RESAMPLED = 2_000
# Of the normal distribution, as an interval of 95 % has it.
_DEVIATIONS = 1.96


@dataclass(frozen=True)
class Figure:
    """A figure with a goal.

    Attributes:
        name: What was measured.
        found: The figure with an interval of 95 %. Infinite: it never happened.
        wanted: The goal.
        at_least: Whether the goal is the least that is wanted, or else the most.
        form: How it is written, as `format` takes it.
    """

    name: str
    found: Estimate
    wanted: float
    at_least: bool = True
    form: str = ".3f"

    @property
    def reached(self) -> bool:
        """Whether the figure itself is as wanted, wherever its interval ends."""
        return self.found.middle >= self.wanted if self.at_least else self.found.middle <= self.wanted

    def cells(self) -> tuple[str, str, str, str, str]:
        """As a row of a table."""
        found = self.found
        alone = found.low == found.high
        return (
            self.name,
            self._shown(found.middle),
            "" if alone else f"{self._shown(found.low)} to {self._shown(found.high)}",
            f"at {'least' if self.at_least else 'most'} {self._shown(self.wanted)}",
            "yes" if self.reached else "no",
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which knows no infinity: None."""
        return {
            "name": self.name,
            "found": _finite(self.found.middle),
            "low": _finite(self.found.low),
            "high": _finite(self.found.high),
            "wanted": self.wanted,
            "at_least": self.at_least,
            "reached": self.reached,
        }

    def _shown(self, number: float) -> str:
        return format(number, self.form) if math.isfinite(number) else "never"


@dataclass(frozen=True)
class Part:
    """What came of a part of the judgement.

    Attributes:
        figures: With their goals.
        grids: Tables that tell more.
        details: What they were computed from, as JSON can hold it.
    """

    figures: Sequence[Figure]
    grids: Sequence[Grid] = ()
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


def exactly(number: float) -> Estimate:
    """What was counted, not estimated."""
    return Estimate(number, number, number)


def median(values: Sequence[float]) -> Estimate:
    """The median of some values and its interval, by drawing so many of them again."""
    found = np.asarray(values, dtype=np.float64)
    drawn = np.random.default_rng(0).integers(0, len(found), (_RESAMPLED, len(found)))
    low, high = np.quantile(np.median(found[drawn], axis=1), (0.025, 0.975))
    return Estimate(float(np.median(found)), float(low), float(high))


def share(hits: int, count: int) -> Estimate:
    """How many of `count` did something, by Wilson's interval."""
    part, weight = hits / count, _DEVIATIONS**2 / count
    middle = (part + weight / 2) / (1 + weight)
    half = _DEVIATIONS / (1 + weight) * math.sqrt(part * (1 - part) / count + weight / (4 * count))
    return Estimate(part, min(max(middle - half, 0.0), part), max(min(middle + half, 1.0), part))


def shown(found: Estimate, form: str = ".2f") -> str:
    """A figure and its interval."""
    return f"{found.middle:{form}} ({found.low:{form}} to {found.high:{form}})"


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
