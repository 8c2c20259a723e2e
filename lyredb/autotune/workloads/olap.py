"""Long scans that aggregate, and loads in bulk between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lyredb.autotune.workloads.base import LOADING, Steps, Workload, write
from lyredb.autotune.workloads.common import common
from lyredb.autotune.workloads.draws import Draws

if TYPE_CHECKING:
    from typing_extensions import Self

_READERS = ("numpy", "values", "items", "keys", "arrow", "count")


@dataclass(frozen=True, kw_only=True)
class Olap(Workload):
    """Reports over ranges of many rows.

    Attributes:
        reader: How a scan is read: into numpy or Arrow, row by row, or only counted.
        shortest, longest: How many rows a scan has, of all, as shares; the same for scans of everything.
        load_share: How many of the operations are loads of some thousand new rows instead.
        value_bytes: The size of a value.
    """

    kind: ClassVar[str] = "olap"

    reader: str
    shortest: float
    longest: float
    load_share: float = 0.0
    value_bytes: int = 48

    @classmethod
    def drawn(cls, draws: Draws) -> Self:
        fields = common(draws, 10_000, 300_000)
        longest = draws.one((1.0, draws.share(0.05, 0.8), draws.share(0.05, 0.3)))
        least = min(1.0, 1_500 / fields["records"])
        return cls(
            **fields,
            reader=draws.one(_READERS, (3, 3, 2, 1, 1, 1)),
            shortest=max(least, draws.one((longest, longest / 4, longest / 20))),
            longest=max(least, longest),
            load_share=draws.one((0.0, 0.02, 0.1, 0.3), (4, 1, 1, 1)),
            value_bytes=draws.one((8, 16, 48, 120, 300)),
        )

    @property
    def variant(self) -> str:
        what = "full" if self.shortest == 1 else "range"
        return f"{what}-{self.reader}" + ("-loads" if self.load_share else "")

    def load(self, family: Any) -> None:
        name, values = self.name(), self.draws(LOADING).payloads(self.value_bytes, self.value_bytes)
        write(family, ((name(number), next(values)) for number in range(self.records)))

    def steps(self, family: Any, worker: int) -> Steps:
        draws, name, aggregate = self.draws(worker), self.name(), self._aggregate()
        values = draws.payloads(self.value_bytes, self.value_bytes)
        # Loads go behind the rest, each worker's to a place of its own, and begin anew there after a while.
        room = max(self.records // 2, 5_000)
        begin, loaded = self.records + worker * room, 0
        while True:
            if draws.share() < self.load_share:
                rows = draws.size(500, 5_000)
                loaded = 0 if loaded + rows > room else loaded
                first = begin + loaded
                family.write_batch([(name(number), next(values)) for number in range(first, first + rows)])
                loaded += rows
            else:
                rows = max(1, int(self.records * draws.share(self.shortest, self.longest)))
                first = draws.below(self.records - rows + 1)
                aggregate(family.scan(name(first), name(first + rows)))
            yield 1

    def _aggregate(self) -> Callable[[Any], object]:
        readers: dict[str, Callable[[Any], object]] = {
            "numpy": self._by_first_byte,
            "arrow": lambda scan: scan.to_arrow().num_rows,
            "values": lambda scan: sum(value[0] for value in scan.values()),
            "items": lambda scan: sum(len(value) for _, value in scan),
            "keys": lambda scan: sum(1 for _ in scan.keys()),
            "count": lambda scan: scan.count(),
        }
        return readers[self.reader]

    def _by_first_byte(self, scan: Any) -> object:
        values: Any = scan.values().to_numpy()
        return np.bincount(values.view("u1").reshape(-1, self.value_bytes)[:, 0])
