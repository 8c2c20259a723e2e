"""The order of the work: segments of one phase each, in them rounds, in which arms take turns of a few blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

TUNED, DEFAULT = "tuned", "default"
# A fifth of a second each. Those compared closely work for a second on end, since what tunes one of them looks at
# quarters of a second; the others are compared by the first blocks of a turn.
_BLOCKS, _FEWER_BLOCKS = 5, 3


@dataclass(frozen=True)
class Segment:
    """A time in which the work is that of one phase.

    Attributes:
        number: From 0, in order of time.
        phase: Its name.
        lap: 0 for the first time that the phase comes, then 1, and so on.
    """

    number: int
    phase: str
    lap: int


@dataclass(frozen=True)
class Block:
    """What a database did without a pause, and how long it took.

    Attributes:
        segment: The number of its segment.
        turn: The number of the round in the segment; those of all arms in a round are close in time.
        place: The number of the block in the turn.
        arm: Whose it is.
        began: In Unix seconds.
        operations: How many; within a round, blocks of the same place are the same work.
        seconds: How long they took.
    """

    segment: int
    turn: int
    place: int
    arm: str
    began: float
    operations: int
    seconds: float

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.operations / self.seconds


def segments(phases: Sequence[str], laps: int = 2) -> list[Segment]:
    """All phases in order, then again."""
    names = [(lap, phase) for lap in range(laps) for phase in phases]
    return [Segment(number, phase, lap) for number, (lap, phase) in enumerate(names)]


def blocks_a_turn(arm: str) -> int:
    """How many blocks an arm does on end."""
    return _BLOCKS if arm in (TUNED, DEFAULT) else _FEWER_BLOCKS


class Rounds:
    """Who works next. Those compared closely are in every round, the others one after the other, all in random order,
    so that whatever else the machine does hits all alike."""

    def __init__(self, arms: Sequence[str], random: Any) -> None:
        self._always = [arm for arm in arms if arm in (TUNED, DEFAULT)]
        self._sometimes = [arm for arm in arms if arm not in self._always]
        self._random = random
        self._decks: dict[str, Iterator[str]] = {}

    def next(self, phase: str) -> list[str]:
        """The arms of a round of a phase. One that had its turn in the phase waits until all others had theirs."""
        arms = list(self._always)
        if self._sometimes:
            arms.append(next(self._decks.setdefault(phase, self._deck())))
        return [arms[place] for place in self._random.permutation(len(arms))]

    def _deck(self) -> Iterator[str]:
        while True:
            for place in self._random.permutation(len(self._sometimes)):
                yield self._sometimes[place]
