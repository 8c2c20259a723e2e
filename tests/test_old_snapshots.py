"""Who holds old versions back is told: when, where in the program, in which thread."""

from __future__ import annotations

import inspect
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

import lyredb
from benches.waiting import wait_until


def here() -> int:
    """The line of the call."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def oldest(db: Any) -> tuple[str, str]:
    figures = db.stats().database
    assert figures["oldest_snapshot_age"] >= 0
    return figures["oldest_snapshot_place"], figures["oldest_snapshot_thread"]


def test_nothing_is_told_of_nobody(db: Any) -> None:
    figures = db.stats().database
    assert (figures["open_snapshots"], figures["held_back"]) == (0, 0)
    assert "oldest_snapshot_age" not in figures


def test_the_place_is_in_the_users_code(db: Any) -> None:
    db.write_batch({b"%03d" % number: b"" for number in range(100)})
    with db.snapshot():
        assert oldest(db) == (f"{__file__}:{here() - 1}", "MainThread")
    with db.transaction():
        assert oldest(db) == (f"{__file__}:{here() - 1}", "MainThread")

    def asked(t: Any) -> tuple[str, str]:
        t[b"a"] = b"1"
        return oldest(db)

    # `retry` begins its transaction in the package, on behalf of this line.
    assert db.retry(asked) == (f"{__file__}:{here()}", "MainThread")
    rows = iter(db.scan())
    line = here() - 1
    next(rows)
    assert oldest(db) == (f"{__file__}:{line}", "MainThread")
    del rows
    assert db.stats().database["open_snapshots"] == 0


def test_the_thread_is_named_even_after_its_end(db: Any) -> None:
    open_now: list[Any] = []
    thread = threading.Thread(target=lambda: open_now.append(db.snapshot()), name="forgetful")
    end = threading.Event()
    waiting = threading.Thread(target=lambda: (open_now.append(db.snapshot()), end.wait()), name="patient")
    thread.start()
    thread.join()
    assert "ended" in oldest(db)[1]
    open_now.pop().close()
    waiting.start()
    wait_until(lambda: open_now, "it is open")
    assert oldest(db)[1] == "patient"
    end.set()
    waiting.join()
    open_now.pop().close()


def test_a_warning_names_who_holds_back_much(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="lyredb")
    with lyredb.open(path, held_back_bytes=1 << 20) as db:
        db.update({b"%05d" % number: bytes(1000) for number in range(3_000)})
        with db.snapshot() as snapshot:
            line = here() - 1
            db.update({b"%05d" % number: b"new" for number in range(3_000)})
            wait_until(lambda: caplog.records, "there is a warning")
            assert snapshot[b"00000"] == bytes(1000)
            (record,) = caplog.records
            assert (record.name, record.levelname) == ("lyredb", "WARNING")
            text = record.getMessage()
            for part in (str(path), f"{__file__}:{line}", "MainThread", " MiB of old versions", "held_back_bytes"):
                assert part in text, text
            held = db.stats().database["held_back"]
            assert isinstance(held, int)
            assert 3_000_000 < held < 3_300_000
        wait_until(lambda: db.stats().database["held_back"] == 0, "nothing is held back")


def test_closing_does_not_wait_for_a_handler(path: Path) -> None:
    """One that itself closes the database is the worst there is."""
    closed: list[str] = []

    class Closing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            db.close()
            closed.append(record.getMessage())

    handler = Closing()
    logging.getLogger("lyredb").addHandler(handler)
    try:
        db = lyredb.open(path, held_back_bytes=1 << 20)
        db.update({b"%05d" % number: bytes(1000) for number in range(3_000)})
        snapshot = db.snapshot()
        db.update({b"%05d" % number: b"new" for number in range(3_000)})
        wait_until(lambda: closed, "it is closed")
        with pytest.raises(lyredb.ClosedError):
            snapshot.get(b"00000")
    finally:
        logging.getLogger("lyredb").removeHandler(handler)
