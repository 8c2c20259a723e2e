"""Loads more than the memory budget holds, a put at a time, and tells how long single puts took.

`python -m benches.stalls --load` runs it, each order in a process of its own, with a memory of its own to measure.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import psutil

import lyredb

KEY_BYTES, VALUE_BYTES = 16, 100
ORDERS = ("key", "random")
# Resolution below a millisecond, in nanoseconds as a power of two; what takes longer is kept to the nanosecond.
BIN_BITS = 8
LONG_NS = 1 << 20
SAMPLE_EVERY = 1 << 14
SLOWEST = 20


class PutTimes:
    """Counts of short times by quarters of a microsecond, and all long ones, so that millions take little memory."""

    def __init__(self) -> None:
        self.short = [0] * (LONG_NS >> BIN_BITS)
        self.long: list[int] = []

    def percentile(self, percent: float) -> float:
        """In milliseconds."""
        count = sum(self.short) + len(self.long)
        behind = count - int(count * percent / 100)
        if behind <= len(self.long):
            return sorted(self.long)[-max(1, behind)] / 1e6
        behind -= len(self.long)
        for index in range(len(self.short) - 1, -1, -1):
            behind -= self.short[index]
            if behind <= 0:
                return ((index + 1) << BIN_BITS) / 1e6
        return 0.0


def key_of(order: str) -> Callable[[int], bytes]:
    if order == "key":
        return lambda number: number.to_bytes(KEY_BYTES, "big")
    return lambda number: blake2b(number.to_bytes(8, "big"), digest_size=KEY_BYTES).digest()


def load(order: str, gigabytes: float, memory_bytes: int, durability: str, folder: Path) -> dict[str, Any]:
    records = int(gigabytes * 1e9 / (KEY_BYTES + VALUE_BYTES))
    make_key, pool = key_of(order), random.Random(2013).randbytes(1 << 20)
    text = b"origin=EWR;status=landed;remark=none;delay=0000;..".ljust(VALUE_BYTES // 2, b".")
    times, process = PutTimes(), psutil.Process()
    short, long, clock = times.short, times.long, time.perf_counter_ns
    at_rest = process.memory_info().rss
    most, slowest, used = 0, list[tuple[int, float]](), 0
    with lyredb.open(folder / "db", durability=durability, memory_bytes=memory_bytes) as db:
        put, begun = db.put, time.perf_counter()
        for number in range(records):
            key, at = make_key(number), number * 53 % (1 << 19)
            value = pool[at : at + VALUE_BYTES // 2] + text
            start = clock()
            put(key, value)
            took = clock() - start
            if took < LONG_NS:
                short[took >> BIN_BITS] += 1
            else:
                long.append(took)
                slowest.append((took, time.perf_counter() - begun))
                if len(slowest) > 10 * SLOWEST:
                    slowest = sorted(slowest, reverse=True)[:SLOWEST]
            if number % SAMPLE_EVERY == 0:
                most = max(most, process.memory_info().rss)
                used = max(used, int(db.stats().database["memory_used"]))
        seconds = time.perf_counter() - begun
        figures = db.stats().database
        start = time.perf_counter()
    closing = time.perf_counter() - start
    return {
        "order": order,
        "records": records,
        "puts a second": records / seconds,
        "milliseconds": {f"p{percent:g}": times.percentile(percent) for percent in (50, 99, 99.9, 99.99)}
        | {"longest": max(long, default=0) / 1e6},
        "over 50 ms": sum(took > 50_000_000 for took in long),
        "slowest, at second": [
            (round(took / 1e6, 1), round(second, 1)) for took, second in sorted(slowest, reverse=True)[:SLOWEST]
        ],
        "memory used at most": used,
        "resident at most": most,
        "resident before": at_rest,
        "page file": figures["file_size"],
        "log": figures["log_size"],
        "checkpoints": figures["checkpoints"],
        "written": figures["pages_written_bytes"],
        "closing seconds": closing,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benches.load_stalls", description=__doc__)
    parser.add_argument("order", choices=ORDERS)
    parser.add_argument("--gb", type=float, default=1)
    parser.add_argument("--memory-bytes", type=int, default=200_000_000)
    parser.add_argument("--durability", default="group", choices=("sync", "group", "async"))
    parser.add_argument("--folder")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="lyredb-load-", dir=arguments.folder))
    try:
        found = load(arguments.order, arguments.gb, arguments.memory_bytes, arguments.durability, folder)
    finally:
        shutil.rmtree(folder)
    json.dump(found, sys.stdout, indent=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
