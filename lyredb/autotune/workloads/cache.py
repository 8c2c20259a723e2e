"""Look-ups of what can be made again: it expires, is thrown away, or is made anew, and missed then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lyredb.autotune.workloads.base import LOADING, SHARED, Steps, Workload, write
from lyredb.autotune.workloads.common import common
from lyredb.autotune.workloads.draws import Draws

if TYPE_CHECKING:
    from typing_extensions import Self

_STEP = 64


@dataclass(frozen=True, kw_only=True)
class Cache(Workload):
    """Gets by popularity; a put after a miss, or now and then without.

    Attributes:
        ttl: Seconds to live; 0: nothing expires, and misses come from what was thrown away.
        exponent: Of Zipf's law.
        refreshed: How many of the operations put a value without having missed it.
        thrown: How many delete one.
        warm: The share of the records that is there at the beginning.
        low_bytes, high_bytes: The size of a value; each is drawn between these.
    """

    kind: ClassVar[str] = "cache"

    ttl: float
    exponent: float = 0.99
    refreshed: float = 0.0
    thrown: float = 0.0
    warm: float = 0.5
    low_bytes: int = 100
    high_bytes: int = 1_000

    @classmethod
    def drawn(cls, draws: Draws) -> Self:
        expires = draws.below(4) > 0
        low = draws.size(16, 1_000)
        return cls(
            **common(draws, 1_000, 300_000),
            ttl=draws.share(0.2, 3.0) if expires else 0.0,
            exponent=draws.one((0.8, 0.99, 1.1, 1.3), (1, 3, 1, 1)),
            refreshed=draws.one((0.0, draws.share(0.0, 0.1), draws.share(0.1, 0.4)), (3, 1, 1)),
            thrown=draws.one((0.0, draws.share(0.0, 0.05)), (2, 1)) if expires else draws.share(0.02, 0.15),
            warm=draws.share(0.0, 1.0),
            low_bytes=low,
            high_bytes=low * draws.size(1, 20),
        )

    @property
    def variant(self) -> str:
        return "expiring" if self.ttl else "thrown-away"

    def load(self, family: Any) -> None:
        name, draws = self.name(), self.draws(LOADING)
        values = draws.payloads(self.low_bytes, self.high_bytes)
        some = draws.shuffled(self.records)[: int(self.records * self.warm)]
        if self.ttl:
            for first in range(0, len(some), 1_000):
                batch = [(name(number), next(values)) for number in some[first : first + 1_000]]
                # They are not to expire all at once.
                family.write_batch(batch, ttl=draws.share(0.1, 1.0) * self.ttl)
        else:
            write(family, ((name(number), next(values)) for number in some))

    def steps(self, family: Any, worker: int) -> Steps:
        get, put, delete, name = family.get, family.put, family.delete, self.name()
        draws, popular = self.draws(worker), self.draws(SHARED).shuffled(self.records)
        numbers, chances = draws.zipf(self.records, self.exponent, places=popular), draws.chances()
        values, ttl = draws.payloads(self.low_bytes, self.high_bytes), self.ttl or None
        thrown, refreshed = self.thrown, self.thrown + self.refreshed
        while True:
            for _ in range(_STEP):
                key, chance = name(next(numbers)), next(chances)
                if chance < thrown:
                    delete(key)
                elif chance < refreshed or get(key) is None:
                    put(key, next(values), ttl=ttl)
            yield _STEP
