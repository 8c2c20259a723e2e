"""How a judgement is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


class NotMeasured(Exception):
    """What was to be measured did not happen."""


@dataclass(frozen=True)
class Circumstances:
    """How a judgement is made.

    Attributes:
        folder: Takes databases while they are worked on.
        quick: Once and shortly.
        tiny: As little as there can be: the figures say nothing.
        seed: What is drawn at random is drawn from this.
        processes: How many may run at once, where nothing is timed.
        progress: Called with how much of the part is done, and of how much.
    """

    folder: Path
    quick: bool
    seed: int
    processes: int
    tiny: bool = False
    progress: Callable[[int, int], object] = lambda done, total: None

    def amount(self, full: int, quick: int, tiny: int) -> int:
        """How much of something there is to be."""
        return tiny if self.tiny else quick if self.quick else full
