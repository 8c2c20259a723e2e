"""Reads keep to `memory_bytes`, whatever they load and however it is divided, and so does the process."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import read_storm

import lyredb

MIB = 1 << 20
BUDGET = 32 * MIB
RECORDS, VALUE_BYTES = 1_000_000, 330
SECONDS = 2
# Of the budget: as a rule, and for a moment in which somebody else has the processor.
USED, USED_AT_TIMES = 1.05, 1.25
# What the process takes beyond is what the allocator has free: between what is in use, and in reserve for each of the
# threads that read, the program's, those for I/O and the one that makes room, whatever the budget.
RESIDENT_OF_BUDGET, RESERVE = 1.28, 96 * MIB


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of ten times the budget, half of which compresses."""
    path = tmp_path_factory.mktemp("memory") / "db"
    chance = random.Random(1)
    with lyredb.open(path, durability="async", codec="lz4") as db:
        for start in range(0, RECORDS, 10_000):
            values = (chance.randbytes(VALUE_BYTES // 2) + bytes(VALUE_BYTES // 2) for _ in range(10_000))
            db.write_batch(zip(map(read_storm.key, range(start, start + 10_000)), values, strict=True))
    return path


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param((), id="as planned"),
        pytest.param(("warm_bytes=16000000", "point_cache_bytes=8000000"), id="divided"),
        pytest.param(("hot_bytes=0", "warm_bytes=24000000", "point_cache_bytes=4000000"), id="warm"),
    ],
)
def test_the_budget_is_kept(folder: Path, settings: tuple[str, ...]) -> None:
    command = [sys.executable, read_storm.__file__, str(folder), str(BUDGET), str(RECORDS), str(SECONDS), *settings]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    ways: dict[str, dict[str, Any]] = {way["way"]: way for way in map(json.loads, done.stdout.splitlines())}
    down = ways.pop("down")
    assert len(ways) == 5
    told = {
        name: f"{max(way['used']) / BUDGET:.2f} used, {max(way['growth']) / BUDGET:.2f} resident"
        for name, way in ways.items()
    }
    print(told)
    for name, way in ways.items():
        used = sorted(way["used"])
        assert used[len(used) // 2] <= USED * BUDGET, f"{name}: {told}"
        assert used[len(used) * 99 // 100] <= USED_AT_TIMES * BUDGET, f"{name}: {told}"
        assert max(way["growth"]) <= RESIDENT_OF_BUDGET * BUDGET + RESERVE, f"{name}: {told}"
    assert down["used"][0] <= USED * BUDGET / 4, f"{down['used'][0]:,} bytes after {down['seconds']:.1f} seconds"
