"""Transactions, savepoints, snapshots, retries."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

import lyredb
from benches.waiting import wait_until


def test_commit_and_own_writes(db: Any) -> None:
    other = db.family("other", key="str", value="int")
    with db.transaction() as t:
        t[b"a"] = b"1"
        t.family("other")["x"] = 5
        assert t[b"a"] == b"1"
        assert t.family("other")["x"] == 5
        assert list(t.items()) == [(b"a", b"1")]
        assert b"a" not in db
        assert "x" not in other
    assert db[b"a"] == b"1"
    assert other["x"] == 5
    assert not t.active


def test_exception_rolls_back(db: Any) -> None:
    with pytest.raises(ZeroDivisionError), db.transaction() as t:
        t[b"a"] = b"1"
        raise ZeroDivisionError
    assert not db
    assert not t.active


def test_by_hand(db: Any) -> None:
    first, second = db.transaction(), db.transaction()
    first[b"a"] = b"1"
    second[b"b"] = b"2"
    first.commit()
    second.rollback()
    assert dict(db) == {b"a": b"1"}
    for ended in (first, second):
        for act in (ended.commit, ended.rollback, ended.savepoint, lambda t=ended: t.get(b"a")):
            with pytest.raises(lyredb.TransactionEndedError):
                act()


def test_ending_inside_with(db: Any) -> None:
    with db.transaction() as t:
        t[b"a"] = b"1"
        t.commit()
    with db.transaction() as t:
        t[b"b"] = b"1"
        t.rollback()
    assert list(db) == [b"a"]


def test_dropped_is_rolled_back(db: Any) -> None:
    t = db.transaction()
    t[b"a"] = b"1"
    del t
    assert not db


def test_first_committer_wins(db: Any) -> None:
    first, second = db.transaction(), db.transaction()
    first[b"k"] = b"1"
    second[b"k"] = b"2"
    first.commit()
    with pytest.raises(lyredb.ConflictError) as conflict:
        second.commit()
    assert conflict.value.suggestion
    assert db[b"k"] == b"1"


def test_snapshot_isolation_allows_write_skew_serializable_does_not(db: Any) -> None:
    for serializable in (False, True):
        db.update({b"x": b"1", b"y": b"1"})
        first, second = (db.transaction(serializable=serializable) for _ in range(2))
        assert first[b"y"] == b"1"
        assert second[b"x"] == b"1"
        first[b"x"] = b"0"
        second[b"y"] = b"0"
        first.commit()
        if serializable:
            with pytest.raises(lyredb.ConflictError):
                second.commit()
        else:
            second.commit()


def test_serializable_sees_phantoms(db: Any) -> None:
    first = db.transaction(serializable=True)
    assert list(first.scan(b"a", b"c")) == []
    first[b"z"] = b""
    db[b"b"] = b""
    with pytest.raises(lyredb.ConflictError):
        first.commit()


def test_savepoints(db: Any) -> None:
    with db.transaction() as t:
        t[b"a"] = b"1"
        point = t.savepoint()
        t[b"b"] = b"2"
        del t[b"a"]
        later = t.savepoint()
        point.rollback()
        assert dict(t) == {b"a": b"1"}
        with pytest.raises(lyredb.SavepointError):
            later.rollback()
        t[b"c"] = b"3"
        point.rollback()
        point.release()
        with pytest.raises(lyredb.SavepointError):
            point.rollback()
        with pytest.raises(ZeroDivisionError), t.savepoint():
            t[b"d"] = b"4"
            raise ZeroDivisionError
        with t.savepoint():
            t[b"e"] = b"5"
    assert dict(db) == {b"a": b"1", b"e": b"5"}


def test_mapping_methods(db: Any) -> None:
    db.update({b"a": b"1", b"b": b"2"})
    with db.transaction() as t:
        assert t.pop(b"a") == b"1"
        assert t.popitem() == (b"b", b"2")
        assert t.setdefault(b"c", b"3") == b"3"
        t.update({b"d": b"4", b"e": b"5"})
        assert t.multi_get([b"a", b"d"]) == [None, b"4"]
        assert t.delete_range(b"d", b"e") == 1
        assert len(t) == 2
        assert t.delete(b"zz") is False
        assert list(t.scan(reverse=True)) == [(b"e", b"5"), (b"c", b"3")]
    assert dict(db) == {b"c": b"3", b"e": b"5"}


def test_failed_batch_leaves_the_transaction_as_it_was(db: Any) -> None:
    with db.transaction() as t:
        t[b"a"] = b"1"
        with pytest.raises(TypeError):
            t.write_batch([(b"b", b"2"), (b"c", 3)])
        assert dict(t) == {b"a": b"1"}


def test_scan_in_transaction_is_not_moved_by_its_writes(db: Any) -> None:
    db.update({bytes([at]): b"" for at in range(100)})
    with db.transaction() as t:
        for name in t:
            t[name + b"x"] = b""
        assert len(t) == 200


def test_timeout(db: Any) -> None:
    with pytest.raises(lyredb.TransactionTimeoutError) as late, db.transaction(timeout=0.02) as t:
        t[b"a"] = b"1"
        time.sleep(0.05)  # longer than its time
    assert isinstance(late.value, TimeoutError)
    assert not db
    with pytest.raises(lyredb.TransactionTimeoutError), db.transaction(timeout=0.02) as t:
        time.sleep(0.05)
        t[b"a"] = b"1"
    assert not db


def test_a_forgotten_transaction_is_given_up(db: Any) -> None:
    db.update({bytes([at]): b"1" for at in range(200)})
    t = db.transaction(timeout=0.5)
    scan = iter(t)
    assert next(scan) == bytes([0])
    began = db.stats().database["oldest_snapshot_version"]
    db[b"a"] = b"2"
    wait_until(lambda: db.stats().database["oldest_snapshot_version"] != began, "what it saw is let go")
    with pytest.raises(lyredb.TransactionTimeoutError):
        list(scan)
    with pytest.raises(lyredb.TransactionTimeoutError):
        t.get(b"a")


def test_retry_counts_correctly(db: Any) -> None:
    counter = db.family("counter", key="str", value="int")
    counter["n"] = 0

    def add(t: Any, amount: int) -> int:
        mine = t.family("counter")
        mine["n"] = mine["n"] + amount
        return mine["n"]

    def work() -> None:
        for _ in range(25):
            db.retry(add, 2, attempts=1000)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter["n"] == 200


def test_retry_gives_up(db: Any) -> None:
    calls = 0

    def always(t: Any) -> None:
        nonlocal calls
        calls += 1
        t[b"k"] = b"mine"
        db[b"k"] = b"theirs"

    with pytest.raises(lyredb.ConflictError):
        db.retry(always, attempts=3)
    assert calls == 3
    with pytest.raises(ValueError, match="attempts"):
        db.retry(always, attempts=0)
    with pytest.raises(ZeroDivisionError):
        db.retry(lambda _: 1 / 0)


def test_snapshot(db: Any) -> None:
    words = db.family("words", key="str", value="str")
    db[b"a"] = b"1"
    words["w"] = "x"
    with db.snapshot() as s:
        db[b"a"] = b"2"
        db[b"b"] = b"3"
        words["w"] = "y"
        assert s[b"a"] == b"1"
        assert dict(s) == {b"a": b"1"}
        assert len(s) == 1
        assert b"b" not in s
        assert s.get(b"b", 0) == 0
        assert s.multi_get([b"a", b"b"]) == [b"1", None]
        assert list(s.scan(reverse=True).keys()) == [b"a"]
        assert s.family("words")["w"] == "x"
        assert s.peekitem() == (b"a", b"1")
        with pytest.raises(TypeError):
            s[b"a"] = b"4"
        with pytest.raises(lyredb.FamilyNotFoundError):
            s.family("none")
    assert s.closed
    with pytest.raises(lyredb.ClosedError):
        s.get(b"a")
    s.close()


def test_versions_grow(db: Any) -> None:
    with db.snapshot() as before:
        db[b"a"] = b"1"
        with db.snapshot() as after:
            assert after.version > before.version
