"""What a phase is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import lyredb
from lyredb.experiments.flights.data import FLIGHT, Data, numpy
from lyredb.experiments.flights.phases.mirror import Mirror

Database = lyredb.Database[bytes, bytes]
Work = TypeVar("Work")


class WrongAnswer(Exception):
    """The database and pandas answered the same question differently."""


@dataclass(frozen=True)
class Step:
    """Some operations of one kind: one for each argument."""

    operation: Callable[[Any], Any]
    arguments: Sequence[Any]


class Phase(ABC, Generic[Work]):
    """One way of working: what is stored, what is asked, and what pandas says.

    The work is drawn in blocks, and each block is done by all databases alike. A block is timed as a whole; drawing
    it, and checking its answers, are not part of that.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    # What the phase does, in a line.
    story: ClassVar[str]
    # What is counted.
    operation: ClassVar[str]
    # Whose work it is.
    families: ClassVar[tuple[str, ...]]

    def __init__(self, data: Data, scale: float) -> None:
        self.data = data
        self._scale = scale

    def scaled(self, count: int) -> int:
        """`count`, or less in a quick run."""
        return max(round(count * self._scale), 1)

    @abstractmethod
    def prepare(self) -> None:
        """Asks pandas what can be asked beforehand."""

    @abstractmethod
    def load(self, database: Database) -> None:
        """Fills the families of a new database that no other phase has filled."""

    @abstractmethod
    def draw(self, random: Any) -> Work:
        """A block of work."""

    @abstractmethod
    def steps(self, database: Database, mirror: Mirror, work: Work) -> list[Step]:
        """Its operations."""

    @abstractmethod
    def check(self, mirror: Mirror, work: Work, answers: list[Any]) -> None:
        """Compares the answers of a block, in the order of its operations, with those of pandas.

        Raises:
            WrongAnswer: They differ.
        """

    def finish(self, database: Database, mirror: Mirror) -> None:
        """Last checks, after all blocks.

        Raises:
            WrongAnswer: The state of the database is not what it should be.
        """


def load_flights(database: Database, data: Data) -> None:
    """Fills the family of flights, unless another phase has."""
    if "flights" not in database.families():
        values = data.flight_records.view(f"V{FLIGHT.itemsize}")
        database.family("flights").write_batch((data.flight_key_array, values))


def zipf(random: Any, cumulative: Any, draws: int) -> Any:
    """Positions, few of them often and most seldom, drawn by `zipf_weights`."""
    places = numpy.searchsorted(cumulative, random.random(draws))
    return numpy.minimum(places, len(cumulative) - 1)


def zipf_weights(items: int, exponent: float = 0.99) -> Any:
    """The cumulative probabilities of `items`, as in YCSB."""
    weights = 1.0 / numpy.arange(1, items + 1) ** exponent
    return numpy.cumsum(weights) / weights.sum()
