"""The benchmark of data larger than memory: its records are what it says, memory is held, and its JSON is whole."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rich")
pytest.importorskip("numpy")

import numpy

from benches.tiers import page_cache
from benches.tiers.data import BLOCK_RECORDS, Records, Zipf
from benches.tiers.warden import Warden
from benches.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent
WORKS = ["zipf", "absent", "scan", "ycsb_a", "ycsb_e", "hot", "load"]

linux = pytest.mark.skipif(not page_cache.supported(), reason="needs Linux 6.5 to hold the page cache")


@pytest.mark.parametrize("values", ["random", "text"])
def test_records_are_in_key_order_and_can_be_made_one_by_one(values: str) -> None:
    records = Records(values, BLOCK_RECORDS + 100, seed=5)
    pairs = [pair for batch in records.batches() for pair in batch]
    keys = [key for key, _value in pairs]
    assert keys == sorted(set(keys))
    assert len(keys) == records.count
    assert {len(key) for key in keys} == {16}
    assert {len(value) for _key, value in pairs} == {100}
    assert records.pair(records.count - 1) == pairs[-1]
    absent = records.absent_keys(numpy.arange(records.count))
    assert not set(absent) & set(keys)


def test_ranks_follow_zipf() -> None:
    count, draws = 10_000, 200_000
    ranks = Zipf(count).ranks(numpy.random.default_rng(7), draws)
    assert ranks.min() == 0
    assert ranks.max() < count
    weights = numpy.arange(1, count + 1) ** -0.99
    for first in (1, 100, 1_000):
        expected = weights[:first].sum() / weights.sum()
        assert (ranks < first).mean() == pytest.approx(expected, abs=0.015)


def _file(folder: Path, size: int) -> Path:
    path = folder / "data"
    path.write_bytes(os.urandom(size))
    page_cache.drop(folder)
    return path


@linux
def test_what_is_read_past_a_cache_does_not_stay_in_the_page_cache(tmp_path: Path) -> None:
    size, limit = 16 << 20, 1 << 20
    path = _file(tmp_path, size)
    warden = Warden(tmp_path, limit, mapped=False)
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            time.sleep(0.01)  # as fast as a disk
        wait_until(lambda: page_cache.cached_bytes(file.fileno()) <= limit, "the rest is dropped", seconds=5)
    warden.close()


@linux
def test_a_mapped_file_keeps_what_is_touched_again_and_again(tmp_path: Path) -> None:
    size, limit, hot = 16 << 20, 4 << 20, 1 << 20
    path = _file(tmp_path, size)
    step = page_cache.PAGE_BYTES
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as mapped:
        mapped.madvise(mmap.MADV_RANDOM)
        warden = Warden(tmp_path, limit, mapped=True)
        warden.follow(path)
        with warden.noting() as memory:
            for place in range(hot, size, 4 * step):
                for near in range(place, min(place + 4 * step, size), step):
                    mapped[near]
                for touched in range(0, hot, step):
                    mapped[touched]
                time.sleep(0.001)  # as fast as a disk
        wait_until(lambda: page_cache.cached_bytes(file.fileno()) <= limit, "the rest is dropped", seconds=5)
        assert page_cache.cached_bytes(file.fileno(), 0, hot) >= hot // 2
        assert memory["cached_peak"] < size // 2
        warden.unfollow()
        warden.close()


@linux
def test_every_work_gives_its_figures_and_the_evidence(tmp_path: Path) -> None:
    results, tables = tmp_path / "run.json", tmp_path / "run.md"
    command = [sys.executable, "-m", "benches.tiers", "--quick", "--stores", "lyredb,sqlite", "--only", ",".join(WORKS)]
    process = subprocess.run(
        [*command, "--data", str(tmp_path / "data"), "--json", str(results), "--markdown", str(tables)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    document: dict[str, Any] = json.loads(results.read_text(encoding="utf-8"))
    measured = {(sample["work"], sample["store"]) for sample in document["samples"]}
    assert measured == {(work, "lyredb") for work in WORKS} | {(work, "sqlite") for work in WORKS if work != "hot"}
    for sample in document["samples"]:
        assert sample["operations"] > 0
        if sample["work"] != "hot":
            assert sample["evidence"]["memory"]["samples"] > 0
            assert sample["evidence"]["per_operation"]["read_bytes"] >= 0
        if sample["store"] == "lyredb":
            assert sample["evidence"]["counters"]
    reads = [sample for sample in document["samples"] if sample["work"] == "zipf"]
    # The data is larger than the memory: without the page cache's help some of it comes from disk.
    assert all(sample["evidence"]["per_operation"]["read_bytes"] > 0 for sample in reads)
    assert "gets, Zipf 0.99" in tables.read_text(encoding="utf-8")
    assert "gets_from_disk" in tables.read_text(encoding="utf-8")
