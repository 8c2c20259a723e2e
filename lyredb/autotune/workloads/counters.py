"""A few records that everybody reads and writes again: totals, sequences, balances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lyredb import ConflictError
from lyredb.autotune.workloads.base import Steps, Workload, write
from lyredb.autotune.workloads.common import common
from lyredb.autotune.workloads.draws import Draws

if TYPE_CHECKING:
    from typing_extensions import Self

_STEP = 16


@dataclass(frozen=True, kw_only=True)
class Counters(Workload):
    """Transactions that read some of very few records and write them.

    Attributes:
        touched: Records a transaction.
        looked_at: How many operations only read one.
    """

    kind: ClassVar[str] = "oltp"

    touched: int = 1
    looked_at: float = 0.0

    @classmethod
    def drawn(cls, draws: Draws) -> Self:
        return cls(
            **common(draws, 5, 500),
            touched=draws.size(1, 4),
            looked_at=draws.one((0.0, draws.share(0.1, 0.9))),
        )

    @property
    def variant(self) -> str:
        return "counters"

    def load(self, family: Any) -> None:
        name = self.name()
        write(family, ((name(number), bytes(8)) for number in range(self.records)))

    def steps(self, family: Any, worker: int) -> Steps:
        draws, name, begin = self.draws(worker), self.name(), family._database.transaction
        numbers, chances = draws.uniform(self.records), draws.chances()
        while True:
            for _ in range(_STEP):
                if next(chances) < self.looked_at:
                    family.get(name(next(numbers)))
                    continue
                try:
                    with begin() as transaction:
                        mine = transaction.bind(family)
                        for key in [name(next(numbers)) for _ in range(self.touched)]:
                            total = int.from_bytes(mine[key], "little") + 1
                            mine.put(key, total.to_bytes(8, "little"))
                except ConflictError:
                    # Somebody else was faster: the next one is as good.
                    continue
            yield _STEP
