"""Work that is of none of the kinds: to recognise it as such."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lyredb.autotune.kinds import UNKNOWN
from lyredb.autotune.workloads.base import LOADING, Steps, Workload, write
from lyredb.autotune.workloads.common import common
from lyredb.autotune.workloads.draws import Draws

if TYPE_CHECKING:
    from typing_extensions import Self

_STEP = 64
SORTS = ("queue", "deletes", "bulk", "absent", "browsing")


@dataclass(frozen=True, kw_only=True)
class Other(Workload):
    """Work that no preset is for.

    Attributes:
        sort: "queue", records put behind the last and taken from the front; "deletes", of random keys, put again in
            bulk; "bulk", batches of random keys and nothing else; "absent", questions after keys that never were;
            "browsing", short scans from anywhere that lead nowhere.
        amount: Records a batch, or rows a scan.
        value_bytes: The size of a value.
    """

    kind: ClassVar[str] = UNKNOWN

    sort: str
    amount: int = 50
    value_bytes: int = 100

    @classmethod
    def drawn(cls, draws: Draws) -> Self:
        return cls(
            **common(draws, 2_000, 100_000),
            sort=draws.one(SORTS),
            amount=draws.size(5, 500),
            value_bytes=draws.size(8, 1_000),
        )

    @property
    def shares(self) -> dict[str, float]:
        return {}

    @property
    def variant(self) -> str:
        return self.sort

    def load(self, family: Any) -> None:
        name, values = self.name(), self.draws(LOADING).payloads(self.value_bytes, self.value_bytes)
        write(family, ((name(number), next(values)) for number in range(self.records)))

    def steps(self, family: Any, worker: int) -> Steps:
        sorts: dict[str, Callable[[Any, int], Steps]] = {
            "queue": self._queue,
            "deletes": self._deletes,
            "bulk": self._bulk,
            "absent": self._absent,
            "browsing": self._browsing,
        }
        return sorts[self.sort](family, worker)

    def _queue(self, family: Any, worker: int) -> Steps:
        name, values = self.name(), self.draws(worker).payloads(self.value_bytes, self.value_bytes)
        newest = self.records + worker
        while True:
            for _ in range(_STEP // 2):
                family.put(name(newest), next(values))
                newest += self.threads
                for key in family.scan(limit=1).keys():
                    family.delete(key)
            yield _STEP

    def _deletes(self, family: Any, worker: int) -> Steps:
        draws, name = self.draws(worker), self.name()
        values = draws.payloads(self.value_bytes, self.value_bytes)
        while True:
            gone = [name(draws.below(self.records)) for _ in range(self.amount)]
            for key in gone:
                family.delete(key)
            family.write_batch([(key, next(values)) for key in gone])
            yield self.amount

    def _bulk(self, family: Any, worker: int) -> Steps:
        draws, name = self.draws(worker), self.name()
        values, numbers = draws.payloads(self.value_bytes, self.value_bytes), draws.uniform(self.records * 10)
        while True:
            family.write_batch([(name(next(numbers)), next(values)) for _ in range(self.amount)])
            yield 1

    def _absent(self, family: Any, worker: int) -> Steps:
        name, numbers = self.name(), self.draws(worker).uniform(self.records * 10)
        while True:
            for _ in range(_STEP):
                family.get(name(self.records + next(numbers)))
            yield _STEP

    def _browsing(self, family: Any, worker: int) -> Steps:
        name, numbers = self.name(), self.draws(worker).uniform(self.records)
        while True:
            for _ in range(_STEP // 8):
                first = next(numbers)
                list(family.scan(name(first), limit=self.amount))
            yield _STEP // 8
