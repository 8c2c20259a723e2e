"""Counters and histograms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lyredb
from lyredb import Bucket, Histogram


def test_every_kind_of_operation_is_in_a_histogram(db: Any) -> None:
    for number in range(1_000):
        key = b"%04d" % number
        db[key] = b"value"
        assert db[key] == b"value"
        assert db.get(key + b"!") is None
        assert db.delete(key)
        db.write_batch({b"a": b"1", b"b": b"2"})
        assert len(list(db.scan(limit=2))) == 2
    stats = db.stats()
    counters, histograms = stats.families["default"], stats.family_histograms["default"]
    assert (counters["gets_found"], counters["gets_absent"], counters["gets_from_disk"]) == (1_000, 1_000, 0)
    assert (counters["puts"], counters["deletes"], counters["batches"]) == (1_000, 1_000, 1_000)
    assert counters["bytes_read"] == 1_000 * 5 + 2_000 * 2
    for name, interval, operations in [
        ("get", 256, 2_000),
        ("put", 64, 1_000),
        ("delete", 64, 1_000),
        ("batch", 16, 1_000),
        ("scan", 16, 1_000),
    ]:
        histogram = histograms[name]
        assert operations // (2 * interval) < histogram.count < operations * 2 // interval, name
        assert histogram.unit == "seconds"
        median, worst = histogram.percentile(50), histogram.percentile(100)
        assert median is not None
        assert worst is not None
        assert 1e-9 < median <= worst < 60
    lengths = histograms["scan_length"]
    assert (lengths.unit, lengths.count, lengths.mean, lengths.percentile(99)) == ("rows", 1_000, 2.0, 2.0)


def test_the_log_and_checkpoints_are_all_timed(db: Any) -> None:
    db[b"a"] = b"1"
    db.sync()
    db.checkpoint()
    stats = db.stats()
    for name, count, time in [
        ("log_sync", "log_syncs", "log_sync_time"),
        ("checkpoint", "checkpoints", "checkpoint_time"),
    ]:
        histogram = stats.database_histograms[name]
        assert histogram.count == stats.database[count] > 0
        assert histogram.total == stats.database[time] > 0


def test_what_came_from_disk(path: Path) -> None:
    with lyredb.open(path) as db:
        db.write_batch({b"%05d" % number: b"x" * 100 for number in range(10_000)})
    with lyredb.open(path) as db:
        for number in range(10_000):
            assert db[b"%05d" % number] == b"x" * 100
        counters = db.stats().families["default"]
        assert counters["gets_found"] == 10_000
        assert 0 < counters["gets_from_disk"] == counters["page_loads"] < 1_000
        database = db.stats().database
        beside = ("memory_used", "memory_budget")
        parts = (part for name, part in database.items() if name.startswith("memory_") and name not in beside)
        assert sum(part for part in parts if isinstance(part, int)) == database["memory_used"]


def test_a_window_is_a_difference(db: Any) -> None:
    def lengths() -> Histogram:
        return db.stats().family_histograms["default"]["scan_length"]

    db.write_batch({b"%d" % number: b"" for number in range(9)})
    list(db.scan(limit=3))
    before = lengths()
    assert before.buckets == (Bucket(3, 3, 1),)
    list(db.scan(limit=3))
    list(db.scan(limit=9))
    assert lengths() - before == Histogram("rows", 12, (Bucket(3, 3, 1), Bucket(9, 9, 1)))
    assert (before - before).buckets == ()
    with pytest.raises(ValueError, match="earlier reading"):
        before - lengths()
    with pytest.raises(ValueError, match="seconds cannot be subtracted from rows"):
        before - db.stats().database_histograms["log_sync"]


def test_percentiles() -> None:
    histogram = Histogram("rows", 1_060, (Bucket(1, 1, 90), Bucket(48, 51, 9), Bucket(512, 575, 1)))
    assert (histogram.count, histogram.mean) == (100, 10.6)
    assert [histogram.percentile(percent) for percent in (0, 50, 90, 90.5, 99, 99.9, 100)] == [
        *(1, 1, 1, 49.5, 49.5, 543.5, 543.5)
    ]
    empty = Histogram("seconds", 0.0, ())
    assert (empty.count, empty.mean, empty.percentile(50)) == (0, None, None)
    for percent in (-1, 101, float("nan")):
        with pytest.raises(ValueError, match="from 0 to 100"):
            empty.percentile(percent)
