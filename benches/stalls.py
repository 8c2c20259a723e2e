"""`python -m benches.stalls`: how long the longest operations take while checkpoints run under full write load.

One thread puts, reads and writes batches without a pause; another makes one checkpoint after the other. In turn the
same work runs without checkpoints, and a loop that touches no database tells what the machine alone does to a thread.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import lyredb

from . import machine
from .data import Data

PERCENTILES = (50, 99, 99.9, 99.99, 100)
BATCH = 100


def percentiles(times_ns: list[int]) -> dict[str, float]:
    """In milliseconds, by percent."""
    ordered = sorted(times_ns)
    last = len(ordered) - 1
    return {f"{percent:g}": ordered[min(last, int(len(ordered) * percent / 100))] / 1e6 for percent in PERCENTILES}


class Times:
    """How long each operation of each kind took, in nanoseconds."""

    def __init__(self) -> None:
        self.of: dict[str, list[int]] = {}

    def take(self, kind: str, operation: Callable[[], object]) -> None:
        start = time.perf_counter_ns()
        operation()
        self.of.setdefault(kind, []).append(time.perf_counter_ns() - start)


def work(db: Any, data: Data, seconds: float, source: random.Random, times: Times) -> None:
    """Nine puts, nine gets and a batch, of keys at random, until the time is over."""
    pairs = data.pairs(0, data.records)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for key, value in source.sample(pairs, 9):
            times.take("put", lambda key=key, value=value: db.put(key, value))
            times.take("get", lambda key=key: db.get(key))
        batch = source.sample(pairs, BATCH)
        times.take(f"batch of {BATCH}", lambda batch=batch: db.write_batch(batch))


def idle(seconds: float, times: Times) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for _ in range(100):
            times.take("nothing", lambda: None)


def checkpoints(db: Any, end: threading.Event) -> None:
    while not end.is_set():
        db.checkpoint()


def measure(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    data = Data(arguments.seed, arguments.records)
    kinds: dict[str, Times] = {"no database": Times(), "without checkpoints": Times(), "with checkpoints": Times()}
    made = 0
    folder = Path(tempfile.mkdtemp(prefix="lyredb-stalls-", dir=arguments.folder))
    try:
        with lyredb.open(folder / "db", durability=arguments.durability, checkpoint_log_bytes=1 << 36) as db:
            for batch in data.batches():
                db.write_batch(batch)
            db.checkpoint()
            source = random.Random(arguments.seed)
            share = arguments.seconds / arguments.rounds / len(kinds)
            for number in range(arguments.rounds):
                console.print(f"round {number + 1} of {arguments.rounds}", style="dim")
                idle(share, kinds["no database"])
                work(db, data, share, source, kinds["without checkpoints"])
                before, end = db.stats().database["checkpoints"], threading.Event()
                thread = threading.Thread(target=checkpoints, args=(db, end))
                thread.start()
                work(db, data, share, source, kinds["with checkpoints"])
                end.set()
                thread.join()
                made += int(db.stats().database["checkpoints"]) - int(before)
    finally:
        shutil.rmtree(folder)
    rows = [
        {"phase": phase, "operation": kind, "count": len(taken), "milliseconds": percentiles(taken)}
        for phase, times in kinds.items()
        for kind, taken in times.of.items()
    ]
    return {
        "machine": machine.describe(folder.parent),
        "durability": arguments.durability,
        "checkpoints": made,
        "rows": rows,
    }


def show(found: dict[str, Any], console: Console) -> None:
    table = Table("phase", "ms of a", *(f"p{percent:g}" for percent in PERCENTILES[:-1]), "longest", "count")
    for column in table.columns[2:]:
        column.justify = "right"
    for row in found["rows"]:
        figures = [f"{value:,.3f}" for value in row["milliseconds"].values()]
        table.add_row(row["phase"], row["operation"], *figures, f"{row['count']:,}")
    console.print(table)
    console.print(f"{found['checkpoints']} checkpoints")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benches.stalls", description=__doc__)
    parser.add_argument("--records", type=int, default=500_000, help="of 16 + 100 bytes (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=90, help="in all (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each phase in turn (default: %(default)s)")
    parser.add_argument("--durability", default="group", choices=("sync", "group", "async"))
    parser.add_argument("--seed", type=int, default=2013)
    parser.add_argument("--folder", help="where the database goes (default: the system's temporary folder)")
    parser.add_argument("--json", action="store_true", help="figures for a program")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    found = measure(arguments, console)
    if arguments.json:
        json.dump(found, sys.stdout, indent=2)
    else:
        show(found, Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())
