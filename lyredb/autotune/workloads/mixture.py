"""Two workloads on one family."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from lyredb.autotune.workloads.base import Steps, Workload
from lyredb.autotune.workloads.cache import Cache
from lyredb.autotune.workloads.draws import Draws
from lyredb.autotune.workloads.graph import Graph
from lyredb.autotune.workloads.olap import Olap
from lyredb.autotune.workloads.oltp import Oltp
from lyredb.autotune.workloads.timeseries import TimeSeries

if TYPE_CHECKING:
    from typing_extensions import Self

PURE: tuple[type[Workload], ...] = (Oltp, Olap, Cache, TimeSeries, Graph)


@dataclass(frozen=True, kw_only=True)
class Mixture(Workload):
    """Each worker does a step of one or of the other, so that each has its share of the time.

    Attributes:
        first, second: What is mixed, of families whose keys have the same codec, with different `space`.
        share: The part of the time that the first one has.
    """

    kind: ClassVar[str] = "mixture"

    first: Workload
    second: Workload
    share: float

    @classmethod
    def drawn(cls, draws: Draws) -> Self:
        one = draws.below(len(PURE))
        other = (one + 1 + draws.below(len(PURE) - 1)) % len(PURE)
        threads, settings = draws.one((1, 2)), Oltp.drawn(draws).settings
        first, second = (
            replace(PURE[kind].drawn(draws), spelling="text", space=space, threads=threads, settings=settings)
            for kind, space in ((one, "a/"), (other, "b/"))
        )
        return cls(
            seed=draws.below(1 << 30),
            records=first.records + second.records,
            threads=threads,
            settings=settings,
            first=first,
            second=second,
            share=draws.share(0.6, 0.9),
        )

    @property
    def shares(self) -> Mapping[str, float]:
        return {self.first.kind: self.share, self.second.kind: round(1 - self.share, 4)}

    @property
    def variant(self) -> str:
        return f"{self.first.kind}+{self.second.kind}"

    def parameters(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "seed": self.seed,
            "share": self.share,
            "first": self.first.parameters(),
            "second": self.second.parameters(),
        }

    def load(self, family: Any) -> None:
        self.first.load(family)
        self.second.load(family)

    def steps(self, family: Any, worker: int) -> Steps:
        first, second = self.first.steps(family, worker), self.second.steps(family, worker)
        first_took = second_took = 0.0
        while True:
            begin = time.perf_counter()
            if first_took * (1 - self.share) <= second_took * self.share:
                yield next(first)
                first_took += time.perf_counter() - begin
            else:
                yield next(second)
                second_took += time.perf_counter() - begin
