"""The ways in which a program can end with databases open and threads at work: what was done is stored."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import programs
import pytest

import lyredb

# Nothing but closing brings what "async" has in memory to the disk in so short a time. What was done is told last of
# all, when the database is closed: functions given to atexit run in the opposite order.
PROGRAM = """
    import atexit, sys
    done = [0, 0, 0]
    atexit.register(lambda: print(*done, flush=True))
    import gc, lyredb, os, pyarrow, signal, threading, time
    db = lyredb.open(sys.argv[1], durability="async", key="tuple", value="int", checkpoint_log_bytes=1 << 20)

    def write(thread, commits=10**9):
        try:
            for number in range(commits):
                db[thread, number] = number
                done[thread] = number + 1
        except lyredb.ClosedError:
            pass

    def read():
        try:
            while True:
                sum(db.values())
                with db.snapshot() as snapshot:
                    snapshot.scan().to_arrow()
        except lyredb.ClosedError:
            pass

    def start(commits=10**9, daemon=True):
        for thread in range(3):
            threading.Thread(target=write, args=(thread, commits), daemon=daemon).start()
        threading.Thread(target=read, daemon=True).start()
        while not all(done):
            time.sleep(0.001)

"""


def end(path: Path, program: str) -> subprocess.CompletedProcess[str]:
    return programs.run(textwrap.dedent(PROGRAM) + textwrap.dedent(program), path)


def check(path: Path, done: list[int], *, later: bool = False) -> None:
    """All commits that were done are there, and of each thread perhaps the next, or with `later` any number of them."""
    with lyredb.open(path, create=False) as db:
        assert db.check().ok
        for thread, count in enumerate(done):
            found: list[Any] = list(db.scan(prefix=(thread,)))
            assert found == [((thread, number), number) for number in range(len(found))]
            assert count <= len(found)
            assert len(found) <= count + 1 or later


@pytest.mark.parametrize(
    ("program", "status", "says"),
    [
        ("start()", 0, ""),
        ("start(); sys.exit(7)", 7, ""),
        ("start(); raise ZeroDivisionError('at the top')", 1, "at the top"),
        ("start(500, daemon=False)", 0, ""),
        ("start(500, daemon=False); sys.exit(7)", 7, ""),
        ("start(); threading.Thread(target=sys.exit, args=(7,)).start(); time.sleep(0.05); db[3, 0] = 0", 0, ""),
        ("start(); threading.Thread(target=lambda: 1 / 0).start()", 0, "ZeroDivisionError"),
        ("signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); start(); os.kill(os.getpid(), 15)", 7, ""),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN); start(); os.kill(os.getpid(), 15)", 0, ""),
        ("start(); cycle = [db, db.scan(), db.transaction()]; cycle.append(cycle); del cycle", 0, ""),
        ("start(); again = lyredb.open(sys.argv[1] + '2'); again[b'k'] = b'v'", 0, ""),
        ("start(); db.close()", 0, ""),
        ("start(); threading.Thread(target=db.close).start()", 0, ""),
    ],
)
def test_an_end_that_python_sees(path: Path, program: str, status: int, says: str) -> None:
    ended = end(path, program)
    assert ended.returncode == status, ended.stderr
    assert (says in ended.stderr) if says else not ended.stderr
    check(path, list(map(int, ended.stdout.split())))


@pytest.mark.parametrize(
    "program",
    [
        "os._exit(7)",
        "os.kill(os.getpid(), signal.SIGKILL)",
        # The tests may have been started with some of them ignored, which programs inherit.
        *(
            f"signal.signal(signal.{name}, signal.SIG_DFL); os.kill(os.getpid(), signal.{name})"
            for name in ("SIGTERM", "SIGHUP", "SIGABRT")
        ),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_an_end_that_python_does_not_see(path: Path, program: str) -> None:
    """What was done before a sync is there; of the rest a prefix. The lock is gone at once."""
    ended = end(path, f"start(); now = list(done); db.sync(); print(*now, flush=True); time.sleep(0.05); {program}")
    assert ended.returncode != 0
    check(path, list(map(int, ended.stdout.split())), later=True)


@pytest.mark.parametrize(
    "work",
    [
        "db.write_batch(((4, sum(range(1000))), number) for number in range(10**9))",
        "while True: db.check(progress=lambda *_: time.sleep(0.001))",
        "while True: sum(db.family('slow', value=Slow()).values())",
        "while True: db.multi_get((4, sum(range(1000))) for number in range(10**6))",
    ],
)
def test_an_end_within_code_that_the_engine_calls(path: Path, work: str) -> None:
    """A thread that is in Python code of the user's, called by ours, does not end the program with a crash."""
    program = f"""
    class Slow:
        ordered, name = True, "slow"
        def encode(self, value): return value
        def decode(self, data): return sum(range(100_000))
    db.family("slow", value=Slow()).update({{b"%d" % number: b"" for number in range(1000)}})
    def work():
        try:
            {work}
        except lyredb.ClosedError:
            pass
    threading.Thread(target=work, daemon=True).start()
    time.sleep(0.1)  # into the midst of it
    """
    ended = end(path, program)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_functions_at_exit_run_around_the_closing(path: Path) -> None:
    """What was registered after `import lyredb` can use a database; what was registered before finds it closed."""
    program = """
        import atexit, sys
        def before():
            try:
                db[b"before"] = b""
            except lyredb.ClosedError:
                print(db.closed)
        atexit.register(before)
        import lyredb
        db = lyredb.open(sys.argv[1])
        atexit.register(lambda: db.put(b"after", b""))
    """
    assert programs.output(program, path) == "True\n"
    with lyredb.open(path) as db:
        assert list(db) == [b"after"]


def test_destructors_that_run_last(path: Path) -> None:
    """Objects are torn down after the databases were closed; whatever they still do with one is an error, no crash."""
    program = """
        import lyredb, sys, threading
        class Late:
            def __init__(self, db): self.db, self.rows = db, iter(db.scan())
            def __del__(self, error=lyredb.ClosedError, print=print):
                for act in (lambda: self.db.put(b"late", b""), self.db.sync, lambda: next(self.rows)):
                    try:
                        act()
                    except error:
                        print("closed", flush=True)
        db = lyredb.open(sys.argv[1])
        db[b"k"] = b"v"
        late = Late(db)
    """
    assert programs.output(program, path) == "closed\n" * 3
    with lyredb.open(path) as db:
        assert list(db) == [b"k"]


def test_what_only_garbage_holds_is_closed_when_it_is_collected(path: Path) -> None:
    program = """
        import gc, lyredb, sys
        gc.disable()
        for number in range(20):
            db = lyredb.open(sys.argv[1], durability="async")
            db[b"%d" % number] = b""
            cycle = [db, db.family("f"), db.snapshot(), db.transaction(), db.scan()]
            cycle.append(cycle)
            del db, cycle
            gc.collect()
        print(len(lyredb.open(sys.argv[1])))
    """
    assert programs.output(program, path) == "20\n"


def test_a_database_that_is_deleted_while_threads_use_it(path: Path) -> None:
    """It lives as long as a thread has a family, a scan or a transaction of it."""
    program = """
        import lyredb, sys, threading
        db = lyredb.open(sys.argv[1], durability="async")
        def write(family):
            for number in range(2000):
                family[b"%d" % number] = b""
        threads = [threading.Thread(target=write, args=(db.family(name),)) for name in "ab"]
        for thread in threads: thread.start()
        rows, t = db.scan(), db.transaction()
        t[b"k"] = b"v"
        del db
        for thread in threads: thread.join()
        t.commit()
    """
    programs.output(program, path)
    with lyredb.open(path) as db:
        assert [len(db), len(db.family("a")), len(db.family("b"))] == [1, 2000, 2000]
