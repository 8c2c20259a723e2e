"""Cache: the pages of planes, looked up again and again, that expire and are made anew on a miss."""

from __future__ import annotations

import json
import time
from struct import Struct
from typing import Any

from lyredb.experiments.flights.data import Data
from lyredb.experiments.flights.phases.base import Database, Phase, Step, require, zipf

# Longer than a block takes, so that its misses are those of its first look-ups.
_TTL_SECONDS = 0.75
_QUICK_TTL_SECONDS = 0.2
# A record may be served until the tick after it expires.
_TICK_SECONDS = 0.05
_STAMP = Struct("<d")


class Cache(Phase):
    name = "cache"
    title = "Expiring look-ups"
    story = (
        "A web site's cache: pages of planes, of which few are asked for often (Zipf 0.99). A page expires in less "
        "than a second; whoever misses it makes it again and puts it back."
    )
    operation = "a look-up, with the put that refills after a miss"

    def prepare(self) -> None:
        self._ttl_seconds = _TTL_SECONDS if self.scale == 1 else _QUICK_TTL_SECONDS
        self._pages = _pages(self.data)
        self._tails = list(self._pages)
        draws = self.scaled(60_000)
        self._draws = zipf(self.random, len(self._tails), self.blocks * draws).reshape(self.blocks, draws)
        self._lookups = 0
        self._misses = 0
        self._oldest_seconds = 0.0

    def load(self, database: Database) -> None:
        database.family("pages")

    def steps(self, database: Database, block: int) -> list[Step]:
        pages, source = database.family("pages"), self._pages
        get, put, now, ttl = pages.get, pages.put, time.monotonic, self._ttl_seconds
        # What the block before left is to have expired, so that every block begins alike.
        time.sleep(self._ttl_seconds + _TICK_SECONDS)

        def look_up(tail: bytes) -> tuple[bytes, float]:
            page = get(tail)
            if page is not None:
                return page, now()
            at = now()
            put(tail, _STAMP.pack(at) + source[tail], ttl=ttl)
            return source[tail], 0.0

        return [Step(look_up, [self._tails[draw] for draw in self._draws[block].tolist()])]

    def check(self, database: Database, block: int, answers: list[Any]) -> None:
        tails: list[bytes] = [self._tails[draw] for draw in self._draws[block].tolist()]
        for tail, (page, served) in zip(tails, answers, strict=True):
            self._lookups += 1
            if not served:
                self._misses += 1
                continue
            age = served - _STAMP.unpack_from(page)[0]
            self._oldest_seconds = max(self._oldest_seconds, age)
            require(
                page[_STAMP.size :] == self._pages[tail],
                f"the page of plane {tail.decode()} is not the one that was put",
            )
            require(
                age <= self._ttl_seconds + _TICK_SECONDS,
                f"the page of plane {tail.decode()} was served {age:.3f} s after it was put, "
                f"with {self._ttl_seconds} s to live",
            )

    def finish(self, database: Database) -> dict[str, str]:
        time.sleep(self._ttl_seconds + _TICK_SECONDS)
        left = database.family("pages").scan().count()
        require(left == 0, f"{left} pages are still there after all have expired")
        return {
            "hits": f"{1 - self._misses / self._lookups:.1%}",
            "oldest page served": f"{self._oldest_seconds:.2f} s",
        }


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
