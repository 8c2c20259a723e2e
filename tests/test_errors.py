"""Every error says what to do, and changes nothing."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import lyredb


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_wrong_types(db: Any) -> None:
    db[b"k"] = b"v"
    for act in (
        lambda: db.put("k", b"w"),
        lambda: db.put(b"k", "w"),
        lambda: db.put(b"k", None),
        lambda: db.put(b"k", 5),
        lambda: db.get(5),
        lambda: db["k"],
        lambda: "k" in db,
        lambda: db.delete(None),
        lambda: db.delete_range(1, 2),
        lambda: db.scan("a"),
        lambda: db.scan(b"a", 1),
        lambda: db.multi_get([b"k", 1]),
        lambda: db.multi_get(5),
        lambda: db.write_batch([(b"k", b"w"), (b"l", 1)]),
    ):
        with pytest.raises(TypeError):
            act()
    with pytest.raises(TypeError, match=r"key must be bytes, bytearray or memoryview, not str"):
        db["k"] = b""
    assert dict(db) == {b"k": b"v"}


def test_oversized_key(db: Any) -> None:
    db[b"k"] = b"v"
    key = b"x" * (lyredb.MAX_KEY_BYTES + 1)
    for act in (
        lambda: db.put(key, b""),
        lambda: db.write_batch([(b"k", b"w"), (key, b"")]),
        lambda: db.transaction().put(key, b""),
    ):
        with pytest.raises(lyredb.KeyTooLargeError) as error:
            act()
        assert isinstance(error.value, ValueError)
        assert error.value.suggestion
        assert str(lyredb.MAX_KEY_BYTES) in str(error.value)
    assert dict(db) == {b"k": b"v"}
    db[key[1:]] = b""
    assert len(db) == 2


@pytest.mark.long
def test_oversized_value(db: Any) -> None:
    with pytest.raises(lyredb.ValueTooLargeError):
        db[b"k"] = bytes(lyredb.MAX_VALUE_BYTES + 1)
    assert not db


def test_closed(path: Path) -> None:
    db = lyredb.open(path)
    db[b"k"] = b"v"
    family, snapshot, transaction, scan = db.family("f"), db.snapshot(), db.transaction(), db.scan()
    db.close()
    db.close()
    assert db.closed
    for act in (
        lambda: db[b"k"],
        lambda: db.get(b"k"),
        lambda: b"k" in db,
        lambda: db.put(b"k", b"w"),
        lambda: db.delete(b"k"),
        lambda: len(db),
        lambda: list(db),
        lambda: db.multi_get([b"k"]),
        lambda: db.write_batch({b"k": b"w"}),
        lambda: family.get(b"k"),
        lambda: db.family("g"),
        lambda: db.families(),
        lambda: snapshot.get(b"k"),
        lambda: transaction.put(b"k", b"w"),
        lambda: list(scan),
        lambda: db.snapshot(),
        lambda: db.transaction(),
        lambda: db.stats(),
        lambda: db.sync(),
        lambda: db.check(),
    ):
        with pytest.raises(lyredb.ClosedError):
            act()
    with lyredb.open(path) as again:
        assert dict(again) == {b"k": b"v"}


def test_read_only(path: Path) -> None:
    with lyredb.open(path) as db:
        db[b"k"] = b"v"
        db.family("f")
    before = None
    with lyredb.open(path, read_only=True) as db:
        assert db.read_only
        assert db[b"k"] == b"v"
        for act in (
            lambda: db.put(b"k", b"w"),
            lambda: db.delete(b"k"),
            lambda: db.write_batch({b"k": b"w"}),
            lambda: db.delete_range(),
            lambda: db.family("new"),
            lambda: db.drop_family("f"),
            lambda: db.rename_family("f", "g"),
        ):
            with pytest.raises(lyredb.ReadOnlyError):
                act()
        assert dict(db) == {b"k": b"v"}
        before = db.families()
    assert before == ["default", "f"]


def test_missing(tmp_path: Path) -> None:
    for options in ({"create": False}, {"read_only": True}):
        with pytest.raises(FileNotFoundError) as error:
            lyredb.open(tmp_path / "none", **options)
        assert error.value.errno == errno.ENOENT
        assert error.value.filename == str(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="none"):
        (tmp_path / "file").write_text("x")
        lyredb.open(tmp_path / "file" / "none")


def test_no_database(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "one.jpg").write_bytes(b"jpg")
    file = tmp_path / "text"
    file.write_text("words")
    before = files_of(tmp_path)
    for path in (folder, file):
        with pytest.raises(lyredb.NotADatabaseError) as error:
            lyredb.open(path)
        assert error.value.path == str(path)
    assert files_of(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        lyredb.open(tmp_path / "db")


def test_second_handle(path: Path) -> None:
    with lyredb.open(path) as db:
        with pytest.raises(lyredb.LockedError) as error:
            lyredb.open(path)
        assert error.value.path == str(path)
        db[b"k"] = b"v"
    with lyredb.open(path) as db:
        assert db[b"k"] == b"v"


def test_second_process(path: Path) -> None:
    program = textwrap.dedent(
        """
        import lyredb, sys
        try:
            lyredb.open(sys.argv[1])
        except lyredb.LockedError as error:
            print(type(error).__name__, error.path)
        """
    )
    with lyredb.open(path) as db:
        db[b"k"] = b"v"
        done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["LockedError", str(path)]
        assert dict(db) == {b"k": b"v"}


FULL_DISK = """
import errno, lyredb, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
db = lyredb.open(sys.argv[1], durability="sync")
db.put(b"before", b"v")
db.sync()
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))
stored = 0
failed = None
try:
    for at in range(2000):
        db.put(b"%d" % at, __import__("os").urandom(100_000))
        stored += 1
    db.checkpoint()
except OSError as error:
    failed = error.errno
    assert error.filename, error
except lyredb.PoisonedError:
    failed = errno.EFBIG
assert failed in (errno.EFBIG, errno.ENOSPC), failed
assert db[b"before"] == b"v"
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
try:
    db.close()
except (OSError, lyredb.Error):
    pass
del db
db = lyredb.open(sys.argv[1])
assert db[b"before"] == b"v"
assert all(b"%d" % at in db for at in range(stored)), stored
db[b"after"] = b"v"
assert db.check().ok
db.close()
print("ok", stored)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs setrlimit")
def test_full_disk(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("ok"), done.stderr


def test_settings(db: Any, tmp_path: Path) -> None:
    before = db.settings()
    with pytest.raises(lyredb.ConfigError) as error:
        db.configure(memory_byte=1 << 30)
    assert "memory_bytes" in (error.value.suggestion or "")
    for act in (
        lambda: db.configure(memory_bytes=1),
        lambda: db.configure(memory_bytes="much"),
        lambda: db.configure("default", memory_bytes=1 << 30),
        lambda: db.configure(checkpoint_log_bytes=32 << 20, memory_bytes=-1),
        lambda: db.reset("nothing"),
        lambda: db.family("new", nothing=1),
        lambda: lyredb.open(tmp_path / "other", nothing=1),
        lambda: lyredb.open(tmp_path / "other", durability="sometimes"),
    ):
        with pytest.raises(lyredb.ConfigError) as error:
            act()
        assert isinstance(error.value, ValueError)
    with pytest.raises(TypeError):
        db.configure(memory_bytes=[1])
    assert db.settings() == before
    assert db.families() == ["default"]
    assert not (tmp_path / "other").exists()


def test_families(db: Any) -> None:
    family = db.family("f")
    family[b"k"] = b"v"
    db.family("g")
    for act, kind in (
        (lambda: db.drop_family("none"), lyredb.FamilyNotFoundError),
        (lambda: db.rename_family("none", "x"), lyredb.FamilyNotFoundError),
        (lambda: db.rename_family("f", "g"), lyredb.FamilyExistsError),
        (lambda: db.existing_family("none"), lyredb.FamilyNotFoundError),
        (lambda: db.transaction().family("none"), lyredb.FamilyNotFoundError),
        (lambda: db.drop_family("default"), lyredb.ConfigError),
        (lambda: db.rename_family("default", "x"), lyredb.ConfigError),
        (lambda: db.settings("none"), lyredb.FamilyNotFoundError),
    ):
        with pytest.raises(kind):
            act()
    assert db.families() == ["default", "f", "g"]
    assert dict(family) == {b"k": b"v"}
    db.rename_family("f", "h")
    assert family.name == "h"
    assert db.family("h")[b"k"] == b"v"
    db.drop_family("h")
    with pytest.raises(lyredb.FamilyNotFoundError) as error:
        family.get(b"k")
    assert isinstance(error.value, KeyError)
    assert "h" in str(error.value)
    assert not db.family("h")


@pytest.mark.parametrize("act", [pickle.dumps, copy.copy, copy.deepcopy])
def test_pickling_says_what_to_do(db: Any, act: Any) -> None:
    for thing in (db, db.family("f"), db.snapshot(), db.transaction(), db.transaction().family("f"), db.scan()):
        with pytest.raises(TypeError, match=r"path|rows"):
            act(thing)


def test_pickling_a_database_names_the_database(db: Any) -> None:
    with pytest.raises(TypeError, match=r"cannot pickle a LyreDB database: send its path"):
        pickle.dumps(db)


def test_errors_pickle() -> None:
    error = lyredb.CorruptionError("bad", path="/x", offset=5)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.path, again.offset) == (str(error), "/x", 5)
    for kind in lyredb.Error.__subclasses__():
        assert isinstance(pickle.loads(pickle.dumps(kind("message"))), kind)


def test_progress(db: Any, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    db.update({b"%04d" % at: b"v" * 100 for at in range(5000)})
    db.check(progress=lambda done, total: calls.append((done, total)))
    assert calls
    assert all(done <= total for done, total in calls)

    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Stop

    for act in (db.check, lambda progress: db.backup(tmp_path / "copy", progress=progress)):
        with pytest.raises(Stop):
            act(progress=stop)
    with pytest.raises(TypeError):
        db.check(progress=5)
    assert db.check(progress=True).ok


def test_backup(db: Any, tmp_path: Path) -> None:
    db[b"k"] = b"v"
    db.backup(tmp_path / "copy")
    db[b"k"] = b"w"
    with lyredb.open(tmp_path / "copy") as backup:
        assert dict(backup) == {b"k": b"v"}
    with pytest.raises(lyredb.NotADatabaseError):
        db.backup(tmp_path / "copy")
    with lyredb.open(tmp_path / "copy") as backup:
        assert dict(backup) == {b"k": b"v"}


def test_wrong_types_say_which_codec_would_do(db: Any) -> None:
    for act, hint in (
        (lambda: db["k"], 'key="str"'),
        (lambda: db.get(5), 'key="int"'),
        (lambda: db.scan(prefix="k"), 'key="str"'),
        (lambda: db.scan(("k", 1)), 'key="tuple"'),
        (lambda: db.put(b"k", "text"), 'value="str"'),
        (lambda: db.put(b"k", {"a": 1}), 'value="json"'),
        (lambda: db[b"a":b"b"], "scan(start, stop)"),
        (lambda: db.multi_get(b"key"), "get is for one"),
        (lambda: db.multi_get("key"), "get is for one"),
        (lambda: db.family(5), "name must be a str, not int"),
        (lambda: db.family("f", preset=5), "a preset is given by its name"),
    ):
        with pytest.raises(TypeError) as error:
            act()
        assert hint in str(error.value)
    assert not db


def test_a_misspelt_argument_is_recognised(tmp_path: Path) -> None:
    with pytest.raises(lyredb.ConfigError, match="did you mean 'read_only'"):
        lyredb.open(tmp_path / "db", readonly=True)


def test_times_out_of_range(db: Any) -> None:
    for ttl, message in ((0, "positive"), (float("nan"), "positive"), (1e300, "too long: 1e300 seconds")):
        with pytest.raises(ValueError, match=message):
            db.put(b"k", b"v", ttl=ttl)
    assert not db


def test_what_the_system_said_is_told_once() -> None:
    with pytest.raises(FileNotFoundError) as error:
        lyredb.open("")
    assert "os error" not in str(error.value)


def test_a_path_of_bytes(path: Path) -> None:
    with lyredb.open(os.fsencode(path)) as db:
        assert db.path == str(path)


def test_reprs_say_what_state_a_thing_is_in(path: Path) -> None:
    db = lyredb.open(path)
    assert repr(db) == f"<lyredb.Database {str(path)!r}>"
    family = db.family("f")
    assert repr(family) == f"<lyredb.Family 'f' of {str(path)!r}>"
    assert repr(family.scan(reverse=True).keys()) == '<lyredb.Scan of "f": keys, reverse>'
    transaction, snapshot = db.transaction(), db.snapshot()
    assert repr(transaction) == f"<lyredb.Transaction of {str(path)!r}, active>"
    assert repr(transaction.savepoint()).startswith("<lyredb.Savepoint ")
    assert repr(snapshot) == f"<lyredb.Snapshot of {str(path)!r}, version {snapshot.version}>"
    transaction.rollback()
    snapshot.close()
    db.close()
    assert repr(transaction).endswith(", ended>")
    assert repr(snapshot).endswith(", closed>")
    assert repr(db) == f"<lyredb.Database {str(path)!r}, closed>"
    with lyredb.open(path, read_only=True) as db:
        assert repr(db) == f"<lyredb.Database {str(path)!r}, read-only>"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_reprs_do_not_fail_in_a_forked_child(path: Path) -> None:
    program = textwrap.dedent(
        """
        import lyredb, os, sys
        db = lyredb.open(sys.argv[1])
        family, transaction, snapshot, scan = db.family("f"), db.transaction(), db.snapshot(), db.scan()
        things = [db, family, transaction, snapshot, scan, transaction.family("f"), snapshot.family("f"), db.keys()]
        child = os.fork()
        if child == 0:
            print(*things, sep="\\n", flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert done.stdout.count("<lyredb.") == 8
