"""The kinds of work there are, and what recognising one gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

KINDS: tuple[str, ...] = ("oltp", "olap", "cache", "timeseries", "graph")
"""Each has the preset of its name."""
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Recognition:
    """What the work of a family was taken for.

    Attributes:
        kind: One of `KINDS`, or `UNKNOWN`.
        probabilities: For each of `KINDS`; they add up to 1. Of mixed work, the shares of its parts, about.
    """

    kind: str
    probabilities: Mapping[str, float]
