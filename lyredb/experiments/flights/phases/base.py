"""What a phase is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import lyredb
from lyredb.experiments.flights.data import Data, numpy

Database = lyredb.Database[bytes, bytes]


class WrongAnswer(Exception):
    """The database and pandas answered the same question differently."""


@dataclass(frozen=True)
class Step:
    """Some operations of one kind: one for each argument."""

    operation: Callable[[Any], Any]
    arguments: Sequence[Any]


class Phase(ABC):
    """One way of working: what is stored, what is asked, and what pandas says.

    The work is drawn once, cut into blocks, and is the same whatever the settings. A block is timed as a whole;
    drawing it, and checking its answers, are not part of that.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    # What the phase does, in a line.
    story: ClassVar[str]
    # What is counted.
    operation: ClassVar[str]
    # Whether each block finds the database just opened.
    reopens: ClassVar[bool] = False

    def __init__(self, data: Data, blocks: int, scale: float, seed: int) -> None:
        self.data = data
        self.blocks = blocks
        self.scale = scale
        self.random = numpy.random.default_rng(seed)

    @property
    def preset(self) -> str:
        """The preset made for such work."""
        return self.name

    def scaled(self, count: int) -> int:
        """`count`, or less in a quick run."""
        return max(int(count * self.scale), 1)

    @abstractmethod
    def prepare(self) -> None:
        """Draws the work, and asks pandas."""

    @abstractmethod
    def load(self, database: Database) -> None:
        """Fills a new database."""

    @abstractmethod
    def steps(self, database: Database, block: int) -> list[Step]:
        """The operations of a block."""

    @abstractmethod
    def check(self, database: Database, block: int, answers: list[Any]) -> None:
        """Compares the answers of a block, in the order of its operations, with those of pandas.

        Raises:
            WrongAnswer: They differ.
        """

    def finish(self, database: Database) -> dict[str, str]:
        """Last checks, and facts worth telling, after all blocks.

        Raises:
            WrongAnswer: The state of the database is not what it should be.
        """
        del database
        return {}


def zipf(random: Any, items: int, draws: int, exponent: float = 0.99) -> Any:
    """Positions below `items`, few of them often and most seldom, as in YCSB."""
    weights = 1.0 / numpy.arange(1, items + 1) ** exponent
    places = numpy.searchsorted(numpy.cumsum(weights) / weights.sum(), random.random(draws))
    return random.permutation(items)[numpy.minimum(places, items - 1)]


def require(holds: bool, complaint: str) -> None:
    """Raises WrongAnswer unless it holds."""
    if not holds:
        raise WrongAnswer(complaint)
