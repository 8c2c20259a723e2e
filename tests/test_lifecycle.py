"""Fork, signals, the end of a program, reopening."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

import lyredb

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")


def python(program: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_reopen(path: Path) -> None:
    with lyredb.open(path) as db:
        db[b"a"] = b"1"
        db.family("words", key="str", value="json")["x"] = [1, {"y": None}]
    with lyredb.open(path, create=False) as db:
        assert db.families() == ["default", "words"]
        assert db[b"a"] == b"1"
        assert db.family("words")["x"] == [1, {"y": None}]
        assert db.path == str(path)
        assert db.check().ok


def test_properties(db: Any) -> None:
    assert db.durability == "group"
    assert not db.closed
    assert not db.read_only
    assert "Database" in repr(db)
    assert "f" in repr(db.family("f"))
    assert db.family("default") is db
    assert db.family("f") is db.family("f")
    stats = db.stats()
    assert stats.database
    assert set(stats.families) == {"default", "f"}
    db.sync()
    db.checkpoint()
    db.compact()


def test_configure(path: Path) -> None:
    with lyredb.open(path, memory_bytes=64 << 20, leaf_bytes=4096) as db:
        assert db.settings()["memory_bytes"] == 64 << 20
        assert db.settings("default")["leaf_bytes"] == 4096
        family = db.family("f", leaf_bytes=16384)
        assert db.settings("f")["leaf_bytes"] == 16384
        assert "leaf_bytes" in db.pinned("f")
        db.family("f", leaf_bytes=8192)
        assert db.settings("f")["leaf_bytes"] == 8192
        db.configure("f", leaf_bytes=2048)
        assert db.settings("f")["leaf_bytes"] == 2048
        db.configure(checkpoint_log_bytes=32 << 20)
        assert db.settings()["checkpoint_log_bytes"] == 32 << 20
        db.reset("checkpoint_log_bytes")
        assert "checkpoint_log_bytes" not in db.pinned()
        family[b"k"] = b"v"


def test_configure_without_a_family_is_for_all_of_now_and_of_later(path: Path) -> None:
    with lyredb.open(path, leaf_bytes=4096) as db:
        db.family("before")
        db.family("own", leaf_bytes=2048)
        db.configure(leaf_bytes=16384)
        db.family("after")
        assert [db.settings(name)["leaf_bytes"] for name in ("before", "own", "after")] == [16384, 2048, 16384]
        db.reset("leaf_bytes", family="own")
        assert db.settings("own")["leaf_bytes"] == 16384
        db.reset("leaf_bytes")
        assert db.settings("before")["leaf_bytes"] == 4096
        db.configure(leaf_bytes=16384)
    with lyredb.open(path) as db:
        db.family("later")
        assert [db.settings(name)["leaf_bytes"] for name in ("default", "later")] == [16384, 16384]


def test_dropped_without_close_keeps_the_data(path: Path) -> None:
    db = lyredb.open(path)
    db[b"k"] = b"v"
    alive = weakref.ref(db)
    del db
    gc.collect()
    assert alive() is None
    with lyredb.open(path) as db:
        assert db[b"k"] == b"v"


def test_end_of_the_program_closes(path: Path) -> None:
    program = """
        import lyredb, sys
        db = lyredb.open(sys.argv[1], durability="async")
        for at in range(1000):
            db[b"%d" % at] = b"v"
        keep = [db, db.scan(), db.transaction()]
        keep.append(keep)
    """
    python(program, path)
    with lyredb.open(path) as db:
        assert len(db) == 1000


@POSIX
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork(path: Path) -> None:
    with lyredb.open(path) as db:
        db[b"k"] = b"v"
        things = (db, db.family("f"), db.snapshot(), db.transaction())
        rows = db.scan()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for thing in things:
                    with pytest.raises(lyredb.ForkedError, match="open it in the child"):
                        thing.get(b"k")
                for act in (
                    lambda: db.put(b"k", b"w"),
                    lambda: next(rows),
                    db.close,
                    db.sync,
                    db.snapshot,
                    lambda: len(db),
                ):
                    with pytest.raises(lyredb.ForkedError):
                        act()
                del things, rows
                gc.collect()
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert status == 0
        assert db[b"k"] == b"v"
        db[b"l"] = b"w"
    with lyredb.open(path) as db:
        assert dict(db) == {b"k": b"v", b"l": b"w"}


@POSIX
def test_forked_child_exits_normally(path: Path) -> None:
    """Its end (destructors, atexit) leaves the parent's database alone, and the parent can reopen while it lives."""
    program = """
        import lyredb, os, sys
        db = lyredb.open(sys.argv[1])
        db[b"k"] = b"v"
        reopened, tell = os.pipe()
        child = os.fork()
        if child == 0:
            del db
            os.close(tell)
            os.read(reopened, 1)
            sys.exit(0)
        db[b"l"] = b"w"
        db.close()
        db = lyredb.open(sys.argv[1])
        assert len(db) == 2
        os.write(tell, b".")
        _, status = os.waitpid(child, 0)
        assert status == 0, status
        db[b"m"] = b"x"
        db.close()
        assert len(lyredb.open(sys.argv[1])) == 3
    """
    python(program, path)


@POSIX
def test_interrupt(db: Any) -> None:
    """Ctrl-C ends a long call at its next report of progress, and the database goes on."""
    db.update({b"%06d" % at: b"v" * 100 for at in range(20_000)})

    begun = threading.Event()

    def slow(done: int, total: int) -> None:
        begun.set()
        time.sleep(0.01)  # so that it takes long

    def interrupt() -> None:
        assert begun.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        while True:
            db.check(progress=slow)
    thread.join()
    assert len(db) == 20_000


def test_an_exception_in_with_closes(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lyredb.open(path) as db:
        db[b"k"] = b"v"
        raise ZeroDivisionError
    assert db.closed
    with lyredb.open(path) as again:
        assert again[b"k"] == b"v"


def test_values_do_not_leak() -> None:
    """What goes through the bindings is counted right: no reference is lost or kept."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder, lyredb.open(folder) as db:
        key, value = b"some key", b"some value" * 10
        counts = sys.getrefcount(key), sys.getrefcount(value)
        for _ in range(100):
            db[key] = value
            db.get(key)
            db.get(b"none", value)
            assert key in db
            list(db.scan(key, prefix=key))
            dict(db.scan())
            db.multi_get([key] * 10, value)
            db.write_batch([(key, value)])
            with db.transaction() as t:
                t[key] = value
                t.get(key)
            with db.snapshot() as s:
                s.get(key)
            with pytest.raises(TypeError):
                db.put(key, 5)
            with pytest.raises(KeyError):
                db[b"none"]
        gc.collect()
        assert (sys.getrefcount(key), sys.getrefcount(value)) == counts
