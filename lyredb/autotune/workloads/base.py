"""What a workload is."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, Any, ClassVar

from lyredb.autotune.workloads.draws import Draws

if TYPE_CHECKING:
    from typing_extensions import Self

Key = bytes | str | int
Steps = Iterator[int]
"""Endless work, in steps of some milliseconds at most where it can: each tells how many operations it did."""

# How numbers are spelled as keys, and the codec of a family with such keys.
SPELLINGS: Mapping[str, str] = {"text": "bytes", "packed": "bytes", "str": "str", "int": "int"}
# In place of a worker's number: what is drawn for loading, and what all workers agree about.
LOADING, SHARED = 1 << 20, 1 << 21
_PACKED = Struct(">Q")
_LOADED_AT_ONCE = 5_000


@dataclass(frozen=True, kw_only=True)
class Workload(ABC):
    """Some work on one family, the same each time for the same fields.

    >>> from lyredb.autotune.workloads import Oltp
    >>> import lyredb, tempfile
    >>> work = Oltp(seed=1, records=100, mix="a")
    >>> with lyredb.open(tempfile.mkdtemp()) as db:
    ...     records = work.family(db, "orders")
    ...     work.load(records)
    ...     steps = work.steps(records, 0)
    ...     done = next(steps) + next(steps)
    >>> done > 0
    True

    Attributes:
        seed: What is drawn at random while it runs is drawn from this.
        records: How many there are at the beginning, about.
        threads: How many workers there are to be at once, numbered from 0.
        spelling: How keys are made of numbers: "text" and "packed" for families of bytes, "str" or "int".
        space: What keys begin with, so that two workloads can share a family. Not for spelling "int".
        settings: Of the family, beside the default.
    """

    kind: ClassVar[str]

    seed: int
    records: int = 10_000
    threads: int = 1
    spelling: str = "text"
    space: str = ""
    settings: Mapping[str, int | str] = field(default_factory=dict[str, "int | str"])

    @classmethod
    @abstractmethod
    def drawn(cls, draws: Draws) -> Self:
        """A variant of this kind."""

    @abstractmethod
    def load(self, family: Any) -> None:
        """Fills the family with what the work begins with."""

    @abstractmethod
    def steps(self, family: Any, worker: int) -> Steps:
        """The endless work of one of the workers."""

    @property
    def shares(self) -> Mapping[str, float]:
        """The kinds of the work, by how much of the time each takes."""
        return {self.kind: 1.0}

    @property
    def variant(self) -> str:
        """What sort of its kind this is, in a word."""
        return self.kind

    @property
    def codec(self) -> str:
        """The codec of the family's keys; values are bytes."""
        return SPELLINGS[self.spelling]

    def parameters(self) -> dict[str, Any]:
        """All that the work depends on, as JSON has it."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    def digest(self) -> str:
        """Tells variants apart."""
        text = json.dumps(self.parameters(), sort_keys=True)
        return hashlib.blake2s(text.encode(), digest_size=6).hexdigest()

    def family(self, database: Any, name: str) -> Any:
        """The family to work on, made with the codecs and settings of this workload if there is none."""
        return database.family(name, key=self.codec, value="bytes", **self.settings)

    def draws(self, worker: int) -> Draws:
        """What is drawn at random by one of the workers."""
        return Draws(self.seed, worker)

    def name(self) -> Callable[[int], Key]:
        """Makes keys of numbers, in their order; beside them there is room for longer keys that begin alike."""
        space, begin = self.space, self.space.encode()
        if self.spelling == "text":
            return lambda number: b"%buser%012d" % (begin, number)
        if self.spelling == "packed":
            return lambda number: begin + _PACKED.pack(number)
        if self.spelling == "str":
            return lambda number: f"{space}item:{number:010}"
        return lambda number: number


def write(family: Any, pairs: Iterable[tuple[Key, bytes]]) -> None:
    """Stores many records, some thousand at once."""
    batch: list[tuple[Key, bytes]] = []
    for pair in pairs:
        batch.append(pair)
        if len(batch) == _LOADED_AT_ONCE:
            family.write_batch(batch)
            batch = []
    if batch:
        family.write_batch(batch)
