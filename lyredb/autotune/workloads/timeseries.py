"""Readings appended as they come, and windows of the latest."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Any, ClassVar

from lyredb.autotune.workloads.base import LOADING, Key, Steps, Workload, write
from lyredb.autotune.workloads.common import common
from lyredb.autotune.workloads.draws import Draws

if TYPE_CHECKING:
    from typing_extensions import Self

_STEP = 64
_PACKED = Struct(">IQ")
# A series of number keys has room for so many moments.
_SERIES_ROOM = 1 << 40


@dataclass(frozen=True, kw_only=True)
class TimeSeries(Workload):
    """Appends to the ends of series, and reads near there.

    Attributes:
        series: How many there are; workers share them out among themselves.
        batch: How many readings are written at once, one moment's of several series; 1: one by one.
        asked: How many windows are read, a reading written.
        shortest, longest: How many readings a window has.
        backwards: Windows are read from the newest back, with a limit, instead of from a moment on.
        late: How many readings come late, a few moments behind the newest.
        ttl: Seconds to live, of all readings; 0: for ever.
        value_bytes: The size of a reading.
    """

    kind: ClassVar[str] = "timeseries"

    series: int
    batch: int = 1
    asked: float = 0.1
    shortest: int = 10
    longest: int = 100
    backwards: bool = False
    late: float = 0.0
    ttl: float = 0.0
    value_bytes: int = 24

    @classmethod
    def drawn(cls, draws: Draws) -> Self:
        shortest = draws.size(1, 200)
        return cls(
            **common(draws, 1_000, 100_000),
            series=draws.one((1, draws.size(2, 20), draws.size(20, 500))),
            batch=draws.one((1, draws.size(2, 20), draws.size(20, 300)), (2, 1, 1)),
            asked=draws.one((0.0, draws.share(0.01, 0.1), draws.share(0.1, 1.0)), (1, 3, 3)),
            shortest=shortest,
            longest=shortest * draws.size(1, 8),
            backwards=draws.below(3) == 0,
            late=draws.one((0.0, draws.share(0.0, 0.1)), (3, 1)),
            ttl=draws.one((0.0, 3_600.0), (5, 1)),
            value_bytes=draws.one((8, 24, 72, 200)),
        )

    @property
    def variant(self) -> str:
        return ("batches" if self.batch > 1 else "single") + ("-backwards" if self.backwards else "")

    def load(self, family: Any) -> None:
        values = self.draws(LOADING).payloads(self.value_bytes, self.value_bytes)
        moments = max(1, self.records // self.series)
        write(
            family,
            ((self._key(one, moment), next(values)) for one in range(self.series) for moment in range(moments)),
        )

    def steps(self, family: Any, worker: int) -> Steps:
        draws, key = self.draws(worker), self._key
        values, chances = draws.payloads(self.value_bytes, self.value_bytes), draws.chances()
        # A series is written by one worker. Where there are fewer, workers add their own.
        mine = list(range(worker, self.series, self.threads)) or [self.series + worker]
        moment, place = max(1, self.records // self.series), 0
        ttl = self.ttl or None
        while True:
            for _ in range(max(1, _STEP // self.batch)):
                batch: list[tuple[Key, bytes]] = []
                for _ in range(self.batch):
                    if place == len(mine):
                        place, moment = 0, moment + 1
                    late = next(chances) < self.late
                    batch.append((key(mine[place], max(0, moment - draws.below(20)) if late else moment), next(values)))
                    place += 1
                if self.batch == 1:
                    family.put(*batch[0], ttl=ttl)
                else:
                    family.write_batch(batch, ttl=ttl)
                if next(chances) < self.asked * self.batch:
                    self._window(family, draws, mine[draws.below(len(mine))], moment)
            yield _STEP

    def _window(self, family: Any, draws: Draws, series: int, moment: int) -> None:
        length = draws.size(self.shortest, self.longest)
        first, stop = self._key(series, max(0, moment - length + 1)), self._key(series, moment + 1)
        if self.backwards:
            list(family.scan(self._key(series, 0), stop, reverse=True, limit=length).values())
        else:
            list(family.scan(first, stop).values())

    def _key(self, series: int, moment: int) -> Key:
        if self.spelling == "packed":
            return self.space.encode() + _PACKED.pack(series, moment)
        if self.spelling == "text":
            return b"%bhost%04d/%010d" % (self.space.encode(), series, moment)
        if self.spelling == "str":
            return f"{self.space}sensor:{series}:{moment:010}"
        return series * _SERIES_ROOM + moment
