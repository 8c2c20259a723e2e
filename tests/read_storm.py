"""Reads what is larger than memory: `read_storm.py FOLDER MEMORY_BYTES RECORDS SECONDS [SETTING=VALUE...]`.

Prints a line of JSON for each way to read: of each of many moments, what the database says that it uses, and what the
process takes beyond what it took without that when it had just opened the database. The last line is for a budget that
was made a quarter, live.
"""

from __future__ import annotations

import bisect
import itertools
import json
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil

import lyredb

PATIENCE_SECONDS = 10


def key(number: int) -> bytes:
    return b"%08d" % number


def ways(db: Any, records: int) -> dict[str, Callable[[], object]]:
    chance = random.Random(1)
    weights = list(itertools.accumulate(1 / rank**0.99 for rank in range(1, records // 10)))

    def uniform() -> object:
        return db.get(key(chance.randrange(records)))

    def zipf() -> object:
        rank = bisect.bisect(weights, chance.random() * weights[-1])
        return db.get(key(rank * 7919 % records))

    def scan() -> object:
        return list(itertools.islice(db.scan(start=key(chance.randrange(records))), 20))

    def many() -> object:
        return db.multi_get([key(chance.randrange(records)) for _ in range(10)])

    return {"uniform gets": uniform, "zipf gets": zipf, "scans": scan, "multi_get": many, "uniform gets again": uniform}


def main(folder: str, memory: str, records: str, seconds: str, *settings: str) -> None:
    budget, process = int(memory), psutil.Process()
    chosen: dict[str, Any] = {name: int(value) for name, value in (setting.split("=") for setting in settings)}
    with lyredb.open(folder, memory_bytes=budget, **chosen) as db:
        to_do = ways(db, int(records))
        base = process.memory_info().rss - db.stats().database["memory_used"]

        def growth() -> int:
            return process.memory_info().rss - base

        for name, read in to_do.items():
            used, resident = list[int](), list[int]()
            until = time.monotonic() + float(seconds)
            while time.monotonic() < until:
                for _ in range(50):
                    read()
                used.append(db.stats().database["memory_used"])
                resident.append(growth())
            print(json.dumps({"way": name, "used": used, "growth": resident}), flush=True)
        start = time.monotonic()
        db.configure(memory_bytes=budget // 4)
        while (now := db.stats().database["memory_used"]) > budget // 4 * 1.05:
            if time.monotonic() > start + PATIENCE_SECONDS:
                break
            time.sleep(0.01)
        took = time.monotonic() - start
        time.sleep(2)  # the allocator gives back what is free some time later
        print(json.dumps({"way": "down", "used": [now], "growth": [growth()], "seconds": took}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
