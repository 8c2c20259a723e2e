"""Levels of isolation as programs meet them: whatever a serializable transaction read is checked when it commits.

The engine's suites (`hermitage`, `histories`, `bank`) prove the levels; here it is that every way to read leads there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import lyredb

# Each of them reads what the key `b"b"` is, or that it is there.
READS: dict[str, Callable[[Any], object]] = {
    "get": lambda t: t.get(b"b"),
    "item": lambda t: t[b"b"],
    "in": lambda t: b"b" in t,
    "multi_get": lambda t: t.multi_get([b"a", b"b"]),
    "setdefault": lambda t: t.setdefault(b"b", b"0"),
    "len": len,
    "bool": bool,
    "iter": list,
    "reversed": lambda t: list(reversed(t)),
    "keys": lambda t: list(t.keys()),
    "values": lambda t: list(t.values()),
    "items": lambda t: list(t.items()),
    "scan": lambda t: list(t.scan(b"a", b"c")),
    "scan backwards": lambda t: list(t.scan(b"a", b"c", reverse=True)),
    "prefix": lambda t: list(t.scan(prefix=b"b")),
    "first row of a scan": lambda t: next(iter(t.scan(b"b"))),
    "count": lambda t: t.scan(b"b").count(),
    "seek": lambda t: list(t.scan().seek(b"b")),
    "to_arrow": lambda t: t.scan().to_arrow(),
    "to_numpy": lambda t: t.scan().to_numpy(),
    "batches": lambda t: list(t.scan().batches()),
    "first": lambda t: t.first(),
    "last": lambda t: t.last(),
    "peekitem": lambda t: t.peekitem(),
    "equal": lambda t: t == {},
}
READS_OF_ABSENT: dict[str, Callable[[Any], object]] = {
    "get": lambda t: t.get(b"c"),
    "in": lambda t: b"c" in t,
    "multi_get": lambda t: t.multi_get([b"c"]),
    "delete": lambda t: t.delete(b"c"),
    "pop": lambda t: t.pop(b"c", None),
    "delete_range": lambda t: t.delete_range(b"c", b"d"),
    "len": len,
    "scan": lambda t: list(t.scan(b"c", b"d")),
    "count": lambda t: t.scan(prefix=b"c").count(),
    "last": lambda t: t.last(),
}


def commits(db: Any, read: Callable[[Any], object], interfere: Callable[[], object], *, serializable: bool) -> bool:
    """Whether a transaction that writes something else is committed though what it read was changed."""
    t = db.transaction(serializable=serializable)
    read(t)
    # Of a family of its own, so that no read above is one of it.
    t.family("other")[b"z"] = b"1"
    interfere()
    try:
        t.commit()
    except lyredb.ConflictError:
        return False
    return True


@pytest.fixture
def records(db: Any) -> Any:
    db.update({b"a": b"1", b"b": b"1"})
    db.family("other")
    return db


@pytest.mark.parametrize("name", READS)
def test_what_was_read_is_checked(records: Any, name: str) -> None:
    def interfere() -> None:
        records[b"b"] = b"2"

    assert not commits(records, READS[name], interfere, serializable=True)
    assert commits(records, READS[name], interfere, serializable=False)


@pytest.mark.parametrize("name", READS_OF_ABSENT)
def test_what_was_not_there_is_checked(records: Any, name: str) -> None:
    def interfere() -> None:
        records[b"c"] = b"2"

    assert commits(records, READS_OF_ABSENT[name], interfere, serializable=False)
    del records[b"c"]
    assert not commits(records, READS_OF_ABSENT[name], interfere, serializable=True)


def test_what_was_not_read_is_not_checked(records: Any) -> None:
    def interfere() -> None:
        records[b"c"] = b"2"

    for read in (lambda t: t[b"b"], lambda t: list(t.scan(b"a", b"c")), lambda t: t.multi_get([b"a", b"d"])):
        assert commits(records, read, interfere, serializable=True)


@pytest.mark.parametrize("serializable", [False, True])
def test_threads_with_write_skew_and_without(db: Any, serializable: bool) -> None:
    """Two accounts that may together not fall below nothing, and two threads, each of which takes from one of them."""
    for _ in range(20):
        db.update({b"x": b"10", b"y": b"0"})
        together = threading.Barrier(2)

        def work(account: bytes, together: threading.Barrier = together) -> None:
            attempts = 0

            def take(t: Any) -> None:
                nonlocal attempts
                attempts += 1
                if attempts == 1:
                    # Both have begun by then.
                    together.wait(10)
                if int(t[b"x"]) + int(t[b"y"]) >= 10:
                    t[account] = b"%d" % (int(t[account]) - 10)

            db.retry(take, serializable=serializable)

        threads = [threading.Thread(target=work, args=(account,)) for account in (b"x", b"y")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert int(db[b"x"]) + int(db[b"y"]) == (0 if serializable else -10)
