"""`python -m benches.stalls`: how long the longest operations take while checkpoints run under full write load.

One thread puts, reads and writes batches without a pause; another makes one checkpoint after the other. In turn the
same work runs without checkpoints, and a loop that touches no database tells what the machine alone does to a thread.

With `--load` it loads more than `memory_bytes` holds instead, in the order of the keys and in random order.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
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
from .load_stalls import ORDERS

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


def load(arguments: argparse.Namespace, console: Console) -> list[dict[str, Any]]:
    """Each order in a process of its own, whose memory is that of this load alone."""
    found: list[dict[str, Any]] = []
    for order in ORDERS:
        console.print(f"{arguments.gb:g} GB, {order} order", style="dim")
        command = [sys.executable, "-m", "benches.load_stalls", order, "--gb", str(arguments.gb)]
        command += ["--memory-bytes", str(arguments.memory_bytes), "--durability", arguments.durability]
        command += ["--folder", arguments.folder] if arguments.folder else []
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found.append(json.loads(done.stdout))
    return found


def show_loads(found: list[dict[str, Any]], console: Console) -> None:
    table = Table("", *(f"{one['order']} order" for one in found))
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("puts a second", *(f"{one['puts a second']:,.0f}" for one in found))
    for name in found[0]["milliseconds"]:
        table.add_row(f"ms of a put, {name}", *(f"{one['milliseconds'][name]:,.3f}" for one in found))
    for name in ("memory used at most", "resident at most", "resident before", "page file", "log", "written"):
        table.add_row(f"{name}, MB", *(f"{one[name] / 1e6:,.0f}" for one in found))
    for name in ("over 50 ms", "checkpoints"):
        table.add_row(name, *(f"{one[name]:,}" for one in found))
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benches.stalls", description=__doc__)
    parser.add_argument("--records", type=int, default=500_000, help="of 16 + 100 bytes (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=90, help="in all (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each phase in turn (default: %(default)s)")
    parser.add_argument("--durability", default="group", choices=("sync", "group", "async"))
    parser.add_argument("--seed", type=int, default=2013)
    parser.add_argument("--folder", help="where the database goes (default: the system's temporary folder)")
    parser.add_argument("--json", action="store_true", help="figures for a program")
    parser.add_argument("--load", action="store_true", help="load more than memory holds")
    parser.add_argument("--gb", type=float, default=1, help="of records of 116 bytes to load (default: %(default)s)")
    parser.add_argument("--memory-bytes", type=int, default=200_000_000, help="when loading (default: %(default)s)")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    if arguments.load:
        loads = load(arguments, console)
        if arguments.json:
            json.dump(loads, sys.stdout, indent=2)
        else:
            show_loads(loads, Console())
        return 0
    found = measure(arguments, console)
    if arguments.json:
        json.dump(found, sys.stdout, indent=2)
    else:
        show(found, Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())
