"""What the tuned database's tuner says of itself, noted at the end of each of its turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import lyredb
from lyredb.autotune import Decision, FamilyStatus
from lyredb.experiments.flights.phases.base import Database
from lyredb.experiments.flights.timeline import TUNED, Block, Segment


@dataclass(frozen=True)
class Seen:
    """What the tuner made of the work of some families.

    Attributes:
        segment: The number of the segment.
        own_seconds: The tuned database's own work up to then.
        families: Those of the phase that the tuner has met.
        settings: What it has in force for the whole database.
    """

    segment: int
    own_seconds: float
    families: dict[str, FamilyStatus]
    settings: dict[str, int | str]


@dataclass(frozen=True)
class Decided:
    """A decision of the tuner.

    Attributes:
        segment: The number of the segment in which it was told.
        own_seconds: The tuned database's own work up to then.
    """

    segment: int
    own_seconds: float
    decision: Decision

    @property
    def why(self) -> str:
        """Its text without the family's name."""
        return self.decision.text.removeprefix(f"{self.decision.family}: ")


class Follower:
    """Reads the tuner's status and its new decisions."""

    def __init__(self, database: Database) -> None:
        self._tuner = database.autotune
        self._told = 0

    def look(self, segment: Segment, families: Sequence[str], blocks: Sequence[Block]) -> tuple[Seen, list[Decided]]:
        """What there is to see now, and what was decided since the last look.

        Args:
            segment: The one that goes on.
            families: Those of its phase.
            blocks: All up to now.

        Raises:
            lyredb.Error: The tuner has failed.
        """
        status = self._tuner.status()
        if status.error is not None:
            raise lyredb.Error(f"the tuner has failed: {status.error}")
        own = [block for block in blocks if block.arm == TUNED]
        met = {name: status.families[name] for name in families if name in status.families}
        decisions = [each for each in self._tuner.history() if each.number > self._told]
        if decisions:
            self._told = decisions[-1].number
        told = [Decided(segment.number, _own_seconds(own, each.at), each) for each in decisions]
        return Seen(segment.number, sum(block.seconds for block in own), met, dict(status.settings)), told


def _own_seconds(blocks: Sequence[Block], at: float) -> float:
    """How long the blocks were at work up to a time."""
    return sum(min(max(at - block.began, 0.0), block.seconds) for block in blocks)
