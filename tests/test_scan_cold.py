"""Scans and reads of many keys in a database larger than its memory."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lyredb

MIB = 1 << 20
RECORDS = 200_000


def key(number: int) -> bytes:
    return number.to_bytes(8, "big")


def value(number: int) -> bytes:
    return random.Random(number).randbytes(100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cold") / "database"
    with lyredb.open(path, durability="async") as db:
        db.write_batch((key(number), value(number)) for number in range(RECORDS))
    return path


@pytest.fixture
def cold(folder: Path) -> Iterator[Any]:
    with lyredb.open(folder, memory_bytes=3 * MIB) as db:
        yield db


def reads(db: Any, count: int, seed: int) -> float:
    """Of reads of which most go to few leaves, the part that memory answers."""
    numbers = random.Random(seed)
    before = db.stats().families["default"]["gets_from_disk"]
    for _ in range(count):
        block = int(RECORDS // 64 * numbers.random() ** 8)
        assert db.get(key(block * 64 + numbers.randrange(64))) is not None
    return 1 - (db.stats().families["default"]["gets_from_disk"] - before) / count


def test_a_scan_leaves_the_hit_ratio_alone(cold: Any) -> None:
    reads(cold, 20_000, 1)
    before = reads(cold, 5_000, 2)
    assert sum(1 for _ in cold.scan()) == RECORDS
    after = reads(cold, 1_000, 3)
    assert after > before - 0.07, f"{before:.3f} {after:.3f}"


@pytest.mark.parametrize("readahead_bytes", [0, 256 << 10])
def test_rows_are_those_that_were_written(cold: Any, readahead_bytes: int) -> None:
    cold.configure(readahead_bytes=readahead_bytes)
    for reverse in (False, True):
        numbers = range(RECORDS)[::-1] if reverse else range(RECORDS)
        assert all(row == key(number) for row, number in zip(cold.scan(reverse=reverse).keys(), numbers, strict=True))
    for number, row in zip(range(RECORDS), cold.scan(), strict=True):
        if number % 100 == 0:
            assert row == (key(number), value(number))


def test_many_keys_in_the_callers_order(cold: Any) -> None:
    numbers = random.Random(4).choices(range(RECORDS + 1000), k=3_000)
    found = cold.multi_get([key(number) for number in numbers])
    assert found == [value(number) if number < RECORDS else None for number in numbers]


def test_ctrl_c_ends_a_long_scan(cold: Any) -> None:
    timer = threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        while True:
            cold.scan().to_arrow()
    timer.join()
    assert next(iter(cold.scan())) == (key(0), value(0))
