"""How automatic tuning stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from lyredb.autotune.journal import Value


@dataclass(frozen=True)
class FamilyStatus:
    """How the tuning of a family stands.

    Attributes:
        state: "idle": nobody uses it. "observing": its work is being recognised. "verifying": settings for it are
            compared with the default. "refining": better ones are looked for. "settled": nothing is tried now.
        kind: One of `lyredb.autotune.KINDS`, or "unknown".
        probabilities: Of each kind.
        source: Where the settings in force come from.
        settings: What the tuner has in force and is not the default.
        gain: Cost of the default by cost of these settings: an interval of 95 % with the mean in its middle; None: not
            measured.
        alarm: How much of a shift there is: from 1 on it is one.
    """

    state: Literal["idle", "observing", "verifying", "refining", "settled"]
    kind: str
    probabilities: Mapping[str, float]
    source: Literal["default", "preset", "blend", "remembered", "refined"]
    settings: Mapping[str, Value]
    gain: tuple[float, float, float] | None
    alarm: float


@dataclass(frozen=True)
class Status:
    """How tuning stands.

    Attributes:
        state: Whether it runs.
        windows: How many it has looked at, of 250 ms.
        families: By name, of those that were used.
        settings: What the tuner has in force for the whole database.
        error: What made it stop; None: nothing did.
    """

    state: Literal["running", "paused", "frozen"]
    windows: int
    families: Mapping[str, FamilyStatus]
    settings: Mapping[str, Value]
    error: str | None

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return asdict(self)
