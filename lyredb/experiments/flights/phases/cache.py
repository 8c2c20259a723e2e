"""Cache: the pages of planes, looked up again and again, that expire and are made anew on a miss."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from struct import Struct
from typing import Any

from lyredb.experiments.flights.data import Data, numpy
from lyredb.experiments.flights.phases.base import Database, Phase, Step, WrongAnswer, zipf, zipf_weights
from lyredb.experiments.flights.phases.mirror import Mirror

_TTL_SECONDS = 0.4
# The engine's clock counts milliseconds.
_CLOCK_SECONDS = 0.002
_STAMP = Struct("<d")


class Cache(Phase[Sequence[bytes]]):
    name = "cache"
    title = "Expiring look-ups"
    story = (
        "A web site's cache: pages of planes, of which few are asked for often (Zipf 0.99). A page expires in less "
        "than half a second; whoever misses it makes it again and puts it back."
    )
    operation = "a look-up, with the put that refills after a miss"
    families = ("pages",)

    def prepare(self) -> None:
        self._pages = _pages(self.data)
        self._tails = list(self._pages)
        # Which planes are popular has nothing to do with their tail numbers.
        numpy.random.default_rng(2013).shuffle(self._tails)
        self._weights = zipf_weights(len(self._tails))

    def load(self, database: Database) -> None:
        database.family("pages")

    def draw(self, random: Any) -> Sequence[bytes]:
        places: list[int] = zipf(random, self._weights, self.scaled(250_000)).tolist()
        return [self._tails[place] for place in places]

    def steps(self, database: Database, mirror: Mirror, work: Sequence[bytes]) -> list[Step]:
        del mirror
        pages, source = database.family("pages"), self._pages
        get, put, now = pages.get, pages.put, time.monotonic

        def look_up(tail: bytes) -> tuple[bytes, float]:
            """The page, and when it was asked for; of one that was missed, less than nothing: when it had been put."""
            asked = now()
            page = get(tail)
            if page is not None:
                return page, asked
            page = _STAMP.pack(asked) + source[tail]
            put(tail, page, ttl=_TTL_SECONDS)
            return page, -now()

        return [Step(look_up, work)]

    def check(self, mirror: Mirror, work: Sequence[bytes], answers: list[Any]) -> None:
        pages, times = zip(*answers, strict=True)
        right = numpy.fromiter(map(_body_is, pages, map(self._pages.__getitem__, work)), dtype=bool, count=len(work))
        if not right.all():
            raise WrongAnswer(f"the page of plane {work[int(right.argmin())].decode()} is not the one that was put")
        times = numpy.array(times)
        stamps = numpy.frombuffer(b"".join([page[: _STAMP.size] for page in pages]), dtype="<f8")
        missed = times < 0
        # Those that had expired before this block may not be served any more, and are not looked for.
        put = {
            stamp: at for stamp, at in mirror.pages_put.items() if at + _TTL_SECONDS + _CLOCK_SECONDS > abs(times[0])
        }
        put.update(zip(stamps[missed].tolist(), (-times[missed]).tolist(), strict=True))
        mirror.pages_put = put
        old: list[int] = numpy.flatnonzero(times - stamps > _TTL_SECONDS).tolist()
        for place in old:
            # A stamp is from before the put: a thread may have had to wait between the two.
            age = times[place] - put.get(stamps[place], -math.inf)
            if age > _TTL_SECONDS + _CLOCK_SECONDS:
                raise WrongAnswer(
                    f"the page of plane {work[place].decode()} was served {age:.3f} s after it was put, "
                    f"with {_TTL_SECONDS} s to live"
                )

    def finish(self, database: Database, mirror: Mirror) -> None:
        expired = max(mirror.pages_put.values(), default=0.0) + _TTL_SECONDS + _CLOCK_SECONDS
        time.sleep(max(expired - time.monotonic(), 0))
        left = database.family("pages").scan().count()
        if left:
            raise WrongAnswer(f"{left} pages are still there after all have expired")


_body_is = bytes.endswith


def _pages(data: Data) -> dict[bytes, bytes]:
    """What there is to say about each plane: its row, and what it flew."""
    flown = data.flights.groupby("tailnum").agg(
        flights=("key", "size"),
        miles=("distance", "sum"),
        minutes=("air_time", "sum"),
        carriers=("carrier", _distinct),
        destinations=("dest", _distinct),
    )
    planes = data.planes.merge(flown, left_on="tailnum", right_index=True)
    rows: list[dict[str, Any]] = json.loads(planes.to_json(orient="records"))
    return {row["tailnum"].encode(): json.dumps(row).encode() for row in rows}


def _distinct(column: Any) -> list[str]:
    return sorted(column.unique())
