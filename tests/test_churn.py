"""Everything is written over again and again: neither the folder nor the memory grows, and nothing is mixed up.

Two minutes in all; `LYREDB_TEST_EFFORT=30` makes it an hour.
"""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import effort
import pytest

import lyredb
from benches.waiting import wait_until

SECONDS = 60 * float(os.environ.get("LYREDB_TEST_EFFORT", "1"))
WRITERS = 2
KEYS = 12_000  # of each writer
LONG_BYTES, LONG_ONE_IN = 20_000, 40
MIB = 1 << 20
BUDGET = 16 * MIB
# What a folder may always take beyond its records and the slack.
TRIFLE = 4 * MIB
NOISE = random.Random(3).randbytes(1 * MIB)
Model = dict[bytes, bytes]


def noise(source: random.Random) -> bytes:
    """Bytes that no codec makes shorter, for a value."""
    longest = LONG_BYTES if source.randrange(LONG_ONE_IN) == 0 else 1_500
    length = source.randrange(longest)
    start = source.randrange(len(NOISE) - length)
    return NOISE[start : start + length]


class Writer:
    """Changes keys of its own, and knows what they hold."""

    def __init__(self, db: Any, number: int) -> None:
        self.db, self.number, self.source = db, number, random.Random(number)
        self.model: Model = {}
        self.changes = 0

    def key(self, number: int) -> bytes:
        return b"%d/%06d" % (self.number, number)

    def fill(self) -> None:
        self.model = {self.key(number): noise(self.source) for number in range(KEYS)}
        self.db.write_batch(self.model)

    def change(self) -> None:
        """Mostly puts, in an order of their own; now and then a batch, a deletion, a range of them."""
        source, choice = self.source, self.source.randrange(100)
        first = source.randrange(KEYS)
        if choice < 90:
            key, value = self.key(first), noise(source)
            self.db[key] = self.model[key] = value
            self.changes += 1
        elif choice < 97:
            batch = {self.key(source.randrange(KEYS)): noise(source) for _ in range(50)}
            self.db.write_batch(batch)
            self.model |= batch
            self.changes += len(batch)
        elif choice < 99:
            key = self.key(first)
            assert self.db.delete(key) == (self.model.pop(key, None) is not None)
            self.changes += 1
        else:
            gone = [self.key(number) for number in range(first, min(first + 20, KEYS))]
            count = self.db.delete_range(gone[0], gone[-1] + b"\x00")
            assert count == sum(self.model.pop(key, None) is not None for key in gone)
            self.changes += count

    def run(self, until: float) -> None:
        while time.monotonic() < until:
            self.change()


def live_bytes(model: Model) -> int:
    return sum(len(key) + len(value) for key, value in model.items())


def folder_bytes(db: Any) -> int:
    """As the file system counts."""
    return sum(file.stat().st_size for file in Path(db.path).iterdir())


@pytest.mark.parametrize("stalled", [False, True])
def test_churn(path: Path, stalled: bool) -> None:
    with lyredb.open(path, memory_bytes=BUDGET, checkpoint_log_bytes=16 * MIB) as db:
        writers = [Writer(db, number) for number in range(WRITERS)]
        for writer in writers:
            writer.fill()
        snapshot = db.snapshot() if stalled else None
        first: Model = {key: value for writer in writers for key, value in writer.model.items()}
        until = time.monotonic() + SECONDS
        threads = [threading.Thread(target=writer.run, args=(until,)) for writer in writers]
        for thread in threads:
            thread.start()
        used: list[int] = []
        while any(thread.is_alive() for thread in threads):
            used.append(int(db.stats().database["memory_used"]))
            time.sleep(0.1)  # from one look to the next
        for thread in threads:
            thread.join()
        expected: Model = {key: value for writer in writers for key, value in writer.model.items()}
        live, changes = live_bytes(expected), sum(writer.changes for writer in writers)
        effort.tally("records written over in churn", changes)
        assert changes > KEYS * WRITERS, "not everything was written over"
        # Whoever fills it makes room from a quarter and 4 MiB above the budget on. What a snapshot sees stays.
        held = live_bytes(first) * 3 // 2 if stalled else 0
        assert max(used) <= (BUDGET + held) * 3 // 2 + 8 * MIB, f"{max(used):,} bytes in memory"
        if snapshot is not None:
            figures = db.stats().database
            assert figures["oldest_snapshot_age"] >= SECONDS
            assert __file__ in str(figures["oldest_snapshot_place"])
            assert int(figures["held_back"]) > live_bytes(first) // 2
            assert dict(snapshot.scan()) == first
            snapshot.close()
        most = live * 1.5 + TRIFLE
        wait_until(lambda: folder_bytes(db) <= most, f"the folder takes {most:,.0f} bytes", pause=0.1)
        assert dict(db.scan()) == expected
        report = db.check()
        assert report.ok, report
    with lyredb.open(path) as db:
        assert dict(db.scan()) == expected
