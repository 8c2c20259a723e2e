"""Leaves brought to another size, settings of tuning's own, and latencies without waiting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lyredb

RECORDS = 50_000


def fill(records: Any) -> None:
    records.write_batch((b"user%012d" % number, b"%d" % number * 12) for number in range(RECORDS))


def test_leaves_become_larger_and_hold_the_same(db: Any) -> None:
    orders = db.family("orders")
    fill(orders)
    before = dict(orders.items())
    looked_at: list[tuple[int, int]] = []
    assert db.reshape("orders") <= db.stats().families["orders"]["splits"]
    db.configure("orders", leaf_bytes=128 << 10)
    built = db.reshape("orders", progress=lambda done, total: looked_at.append((done, total)))
    assert 0 < built < 100
    assert looked_at[-1][0] > built
    assert dict(orders.items()) == before
    assert db.reshape() == 0
    assert db.check().ok


def test_what_cannot_be_reshaped(db: Any, path: Path) -> None:
    with pytest.raises(lyredb.FamilyNotFoundError):
        db.reshape("none")
    fill(db)
    db.configure(leaf_bytes=64 << 10)

    def stop(done: int, total: int) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        db.reshape(progress=stop)
    assert len(db) == RECORDS
    db.close()
    with pytest.raises(lyredb.ClosedError):
        db.reshape()
    with lyredb.open(path, read_only=True) as again, pytest.raises(lyredb.ReadOnlyError):
        again.reshape()


def test_what_is_tuned_is_below_what_users_set(path: Path) -> None:
    with lyredb.open(path, delta_records=24) as db:
        engine: Any = db._engine
        db.family("orders")
        engine.tune(None, {"leaf_bytes": 4096, "delta_records": 99})
        assert (db.settings("orders")["leaf_bytes"], db.settings("orders")["delta_records"]) == (4096, 24)
        engine.tune("orders", {"leaf_bytes": 2048})
        assert (db.settings("orders")["leaf_bytes"], "leaf_bytes" in db.pinned("orders")) == (2048, False)
        db.configure("orders", leaf_bytes=16384)
        assert db.settings("orders")["leaf_bytes"] == 16384
        db.reset("leaf_bytes", family="orders")
        assert db.settings("orders")["leaf_bytes"] == 2048
        for wrong in ({"held_back_bytes": 1 << 20}, {"leaf_bytes": 5}, {"memory": 5}):
            with pytest.raises(lyredb.ConfigError):
                engine.tune(None, wrong)
        assert db.settings("orders")["leaf_bytes"] == 2048
        engine.tune("orders", {})
        assert db.settings("orders")["leaf_bytes"] == 4096
    with lyredb.open(path) as db:
        assert db.settings("orders")["leaf_bytes"] == 8192


def test_latencies_of_each_kind(db: Any) -> None:
    fill(db)
    for number in range(5_000):
        db.get(b"user%012d" % number)
        db.put(b"user%012d" % number, b"")
    for _ in db.scan(limit=100):
        pass
    timings = db._engine.timings()["default"]
    histograms = db.stats().family_histograms["default"]
    assert set(timings) == {name for name, histogram in histograms.items() if histogram.unit == "seconds"}
    for kind in ("get", "put"):
        total, buckets = timings[kind]
        count = sum(bucket[2] for bucket in buckets)
        assert count > 5
        assert all(low <= high for low, high, _ in buckets)
        assert sum(low * many for low, _, many in buckets) <= total <= sum(high * many for _, high, many in buckets)
