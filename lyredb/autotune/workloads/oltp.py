"""Reads and writes of records by key: YCSB's mixes, transactions, orders with their lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lyredb import ConflictError
from lyredb.autotune.workloads.base import LOADING, SHARED, Key, Steps, Workload, write
from lyredb.autotune.workloads.common import common
from lyredb.autotune.workloads.draws import Draws

if TYPE_CHECKING:
    from typing_extensions import Self

_STEP = 64
# Of YCSB's mixes, the share of reads; the rest are updates, inserts (d), or reads with an update after (f).
_READS = {"a": 0.5, "b": 0.95, "c": 1.0, "d": 0.95, "f": 0.5}
_MIXES = (*_READS, "updates", "transactions", "orders", "many")


@dataclass(frozen=True, kw_only=True)
class Oltp(Workload):
    """Short operations on single records.

    Attributes:
        mix: One of YCSB's, by its letter; "updates", reads and updates in any proportion, some inserts and deletes;
            "transactions", of some reads and writes each; "orders", with some short scans of an order's lines; "many",
            reads of several keys at once.
        exponent: Of Zipf's law; 0: all keys alike.
        reads: For "updates", the share of reads; for the others that have a choice, reads a transaction.
        writes: Writes a transaction.
        low_bytes, high_bytes: The size of a value.
    """

    kind: ClassVar[str] = "oltp"

    mix: str
    exponent: float = 0.99
    reads: float = 2
    writes: int = 2
    low_bytes: int = 100
    high_bytes: int = 100

    @classmethod
    def drawn(cls, draws: Draws) -> Self:
        mix = draws.one(_MIXES, (2, 2, 2, 2, 2, 4, 5, 3, 1))
        low = draws.size(8, 600)
        return cls(
            **common(draws, 1_000, 300_000),
            mix=mix,
            exponent=draws.one((0.0, 0.6, 0.8, 0.99, 1.1), (3, 1, 1, 3, 1)),
            reads=draws.share(0.2, 0.97) if mix == "updates" else draws.size(1, 12),
            writes=draws.size(1, 6),
            low_bytes=low,
            high_bytes=low * draws.size(1, 4),
        )

    @property
    def variant(self) -> str:
        return f"ycsb-{self.mix}" if self.mix in _READS else self.mix

    def load(self, family: Any) -> None:
        name, values = self.name(), self.draws(LOADING).payloads(self.low_bytes, self.high_bytes)
        write(family, ((name(number), next(values)) for number in range(self.records)))

    def steps(self, family: Any, worker: int) -> Steps:
        draws = self.draws(worker)
        # All workers agree about which keys are popular.
        popular = self.draws(SHARED).shuffled(self.records)
        numbers = draws.zipf(self.records, self.exponent, places=popular)
        values = draws.payloads(self.low_bytes, self.high_bytes)
        if self.mix in _READS:
            return self._ycsb(family, worker, draws, numbers, values)
        work: Callable[[Any, Draws, Iterator[int], Iterator[bytes]], Steps] = {
            "updates": self._updates,
            "transactions": self._transactions,
            "orders": self._orders,
            "many": self._many,
        }[self.mix]
        return work(family, draws, numbers, values)

    def _ycsb(self, family: Any, worker: int, draws: Draws, numbers: Iterator[int], values: Iterator[bytes]) -> Steps:
        get, put, name = family.get, family.put, self.name()
        reads, chances = _READS[self.mix], draws.chances()
        # Each worker's inserts are keys of its own, behind what was loaded.
        newest = self.records + worker
        while True:
            for _ in range(_STEP):
                number = next(numbers)
                if self.mix == "d":
                    # The latest are the popular ones.
                    number = max(0, newest - number)
                key = name(number)
                if next(chances) < reads:
                    get(key)
                elif self.mix == "d":
                    newest += self.threads
                    put(name(newest), next(values))
                else:
                    if self.mix == "f":
                        get(key)
                    put(key, next(values))
            yield _STEP

    def _updates(self, family: Any, draws: Draws, numbers: Iterator[int], values: Iterator[bytes]) -> Steps:
        get, put, delete, name = family.get, family.put, family.delete, self.name()
        chances = draws.chances()
        inserts = draws.one((0.0, 0.05, 0.2))
        while True:
            for _ in range(_STEP):
                if next(chances) < self.reads:
                    get(name(next(numbers)))
                elif next(chances) < inserts:
                    # What is inserted is deleted again sooner or later: there stay about as many.
                    if next(chances) < 0.5:
                        put(name(next(numbers) + self.records), next(values))
                    else:
                        delete(name(next(numbers) + self.records))
                else:
                    put(name(next(numbers)), next(values))
            yield _STEP

    def _transactions(self, family: Any, draws: Draws, numbers: Iterator[int], values: Iterator[bytes]) -> Steps:
        del draws
        name, begin = self.name(), family._database.transaction
        reads, writes = int(self.reads), self.writes
        while True:
            for _ in range(_STEP // 8):
                keys = [name(next(numbers)) for _ in range(max(reads, writes))]
                try:
                    with begin() as transaction:
                        mine = transaction.bind(family)
                        for key in keys[:reads]:
                            mine.get(key)
                        for key in keys[:writes]:
                            mine.put(key, next(values))
                except ConflictError:
                    # Somebody else was faster; the next transaction is as good.
                    continue
            yield _STEP // 8 * (reads + 1)

    def _orders(self, family: Any, draws: Draws, numbers: Iterator[int], values: Iterator[bytes]) -> Steps:
        """Orders are ten records one after the other, the head first; now and then one is read whole."""
        get, put, scan, name = family.get, family.put, family.scan, self.name()
        chances, scanned = draws.chances(), draws.share(0.02, 0.25)
        while True:
            for _ in range(_STEP):
                number, chance = next(numbers), next(chances)
                if chance < scanned:
                    head = number // 10 * 10
                    list(scan(name(head), name(head + 10)))
                elif chance < scanned + 0.25:
                    put(name(number), next(values))
                else:
                    get(name(number))
            yield _STEP

    def _many(self, family: Any, draws: Draws, numbers: Iterator[int], values: Iterator[bytes]) -> Steps:
        put, name, chances = family.put, self.name(), draws.chances()
        at_once = max(2, int(self.reads))
        while True:
            keys: list[Key] = [name(next(numbers)) for _ in range(at_once)]
            family.multi_get(keys)
            if next(chances) < 0.2:
                put(keys[0], next(values))
            yield at_once
