"""Fork, multiprocessing, other processes and the lock, while threads write."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import programs
import pytest

import lyredb

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and signals")

# Three threads commit, one makes and drops families, one scans: a fork may come in the middle of anything.
BUSY = """
    import itertools, lyredb, os, signal, sys, threading, time
    path = sys.argv[1]
    db = lyredb.open(path, key="int", value="int")
    db.apply_preset("default"), db.scan().to_arrow()  # children need not import what these do
    done = [0, 0, 0]
    stop = False

    def write(thread):
        mine = db.family(f"f{thread}", key="int", value="json")
        for number in itertools.count():
            if stop: return
            with db.transaction() as t:
                t.family(mine.name)[number] = [number]
                t[thread] = number
            done[thread] = number + 1

    def change():
        while not stop:
            db.family("brief", leaf_bytes=4096)
            db.drop_family("brief")

    def read():
        while not stop:
            sum(db.values())
            shared_rows.seek(0)
            list(shared_rows)

    db.write_batch((number, number) for number in range(100, 200))
    family, shared_rows = db.family("f0", key="int", value="json"), db.scan()
    snapshot, transaction = db.snapshot(), db.transaction()
    work = [*(lambda thread=thread: write(thread) for thread in range(3)), change, read]
    threads = [threading.Thread(target=each) for each in work]
    for thread in threads: thread.start()

    def finish():
        global stop
        stop = True
        for thread in threads: thread.join()
        for thread, count in enumerate(done):
            mine = db.family(f"f{thread}")
            assert list(mine.items()) == [(number, [number]) for number in range(count)], mine
            assert db[thread] == count - 1
        assert db.check().ok
        db.close()
"""
ACTS = """
    of_view = [lambda v: v.get(1), lambda v: v[1], lambda v: 1 in v, len, bool, list, lambda v: v.scan(prefix=None),
        lambda v: list(v.items()), lambda v: v.multi_get([1]), lambda v: v.first(), lambda v: v.last(),
        lambda v: v.peekitem(0)]
    of_map = [lambda v: v.put(1, 1), lambda v: v.put(1, 1, ttl=5), lambda v: v.delete(1), lambda v: v.delete_range(),
        lambda v: v.write_batch({1: 1}), lambda v: v.update({1: 1}), lambda v: v.setdefault(1, 1), lambda v: v.pop(1),
        lambda v: v.popitem(), lambda v: v.clear()]
    of_database = [db.families, db.sync, db.checkpoint, db.compact, db.check, db.stats, db.close, db.snapshot,
        db.transaction, db.settings, db.pinned, lambda: db.closed, lambda: db.family("new"), lambda: db.family("brief"),
        lambda: db.existing_family("new"), lambda: db.drop_family("f0"), lambda: db.rename_family("f0", "f9"),
        lambda: db.configure(leaf_bytes=4096), lambda: db.reset("leaf_bytes"), lambda: db.apply_preset("oltp"),
        lambda: db.backup(path + "-copy"), lambda: db.retry(lambda t: None), lambda: family.time_to_live(1)]
    of_others = [lambda: next(shared_rows), lambda: shared_rows.seek(5), shared_rows.count, shared_rows.to_arrow,
        transaction.commit, transaction.rollback, transaction.savepoint, lambda: transaction.active,
        lambda: transaction.family("f0").get(1), lambda: snapshot.closed, snapshot.close, lambda: snapshot.version]

    def refused():
        acts = [*of_database, *of_others]
        for view in (db, family, snapshot, transaction):
            acts += [lambda view=view, act=act: act(view) for act in of_view]
        for view in (db, family, transaction):
            acts += [lambda view=view, act=act: act(view) for act in of_map]
        for number, act in enumerate(acts):
            try:
                act()
            except lyredb.ForkedError as error:
                assert "open it in the child" in str(error)
            else:
                raise AssertionError(f"the act of number {number} works in a forked child")
        try:
            lyredb.open(path)
        except lyredb.LockedError:
            return
        raise AssertionError("the child opens what its parent has open")
"""


@POSIX
def test_forks_while_threads_write(path: Path) -> None:
    """In the child every operation is refused, and nothing hangs; the parent goes on, however the child ends."""
    ends = "lambda: os._exit(0), lambda: sys.exit(0), lambda: os.kill(os.getpid(), 9), lambda: 1 / 0, lambda: None"
    program = f"""
    import gc
    ends = [{ends}]
    for number in range(20):
        time.sleep(0.003)  # for the threads to get on
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2) if number % len(ends) == 3 else None
            refused()
            if number % 2:
                del db, family, snapshot, transaction, shared_rows
                gc.collect()
            stop = True
            ends[number % len(ends)]()
            sys.exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status == [0, 0, -9, 1, 0][number % len(ends)], (number, status)
    finish()
    print("fine")
    """
    assert programs.output(BUSY + ACTS + program, path) == "fine\n"


@POSIX
def test_a_child_that_leaves_the_parents_with_block(path: Path) -> None:
    """It ends as it wanted to, and closes, commits and rolls back nothing."""
    program = """
    import lyredb, os, sys
    with lyredb.open(sys.argv[1]) as db, db.snapshot(), db.transaction() as t, t.savepoint():
        t[b"k"] = b"v"
        child = os.fork()
        if child == 0:
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    """
    programs.output(program, path)
    with lyredb.open(path) as db:
        assert dict(db) == {b"k": b"v"}


@POSIX
def test_a_child_outlives_the_parent(path: Path) -> None:
    """A grandchild too: it neither keeps the lock nor opens the database by mistake."""
    program = """
    import lyredb, os, sys, time
    db = lyredb.open(sys.argv[1])
    db[b"k"] = b"v"
    if os.fork() == 0:
        os.close(1), os.close(2)
        if os.fork() == 0:
            time.sleep(1)
        time.sleep(1)  # beyond the parent's end
        sys.exit(0)
    os.kill(os.getpid(), 9) if sys.argv[2] == "killed" else None
    """
    for how in ("killed", "closed"):
        programs.run(program, path, how)
        with lyredb.open(path) as db:
            assert db.check().ok


def use_the_path(path: str) -> int:
    with lyredb.open(path) as db:
        db[b"child %d" % os.getpid()] = b""
        return len(db)


def try_the_path(path: str) -> str:
    try:
        lyredb.open(path)
    except lyredb.LockedError as error:
        return str(error)
    return "opened"


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_multiprocessing_with_the_path(path: Path, method: str) -> None:
    with lyredb.open(path) as db:
        db[b"parent"] = b""
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(use_the_path, (str(path),)) == 2
        with lyredb.open(path) as db:
            assert "in use" in pool.apply(try_the_path, (str(path),))
            db[b"parent"] = b"again"
        assert pool.apply(use_the_path, (str(path),)) == 2


def test_a_database_is_not_sent_to_another_process(path: Path) -> None:
    with lyredb.open(path) as db, multiprocessing.get_context("spawn").Pool(1) as pool:
        with pytest.raises(TypeError, match="send its path"):
            pool.apply(len, (db,))
        assert not db


@POSIX
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_parents_handle_in_a_process_that_multiprocessing_forked(path: Path) -> None:
    program = """
    import lyredb, multiprocessing, sys
    db = lyredb.open(sys.argv[1])
    def use(_):
        return len(db)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        try:
            pool.map(use, range(4))
        except lyredb.ForkedError as error:
            print(error)
    db[b"k"] = b"v"
    """
    assert "open it in the child" in programs.output(program, path)
    with lyredb.open(path) as db:
        assert dict(db) == {b"k": b"v"}


@POSIX
def test_programs_that_were_started_do_not_keep_the_lock(path: Path) -> None:
    db = lyredb.open(path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as other:
        db.close()
        with lyredb.open(path) as db:
            db[b"k"] = b"v"
        other.communicate(b"\n")


@POSIX
def test_a_writer_that_is_stopped_keeps_the_lock_and_one_that_is_killed_does_not(path: Path) -> None:
    program = """
    import itertools, lyredb, sys
    db = lyredb.open(sys.argv[1], durability="sync")
    for number in itertools.count():
        db[b"%d" % number] = b""
        print(number, flush=True)
    """
    command = [sys.executable, "-c", "import textwrap, sys; exec(textwrap.dedent(sys.argv.pop(1)))", program, str(path)]
    highest = 0
    for _ in range(5):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            last = int(writer.stdout.readline())
            for _ in range(5):
                writer.send_signal(signal.SIGSTOP)
                before = time.monotonic()
                for read_only in (False, True):
                    with pytest.raises(lyredb.LockedError):
                        lyredb.open(path, read_only=read_only)
                assert time.monotonic() - before < 5
                writer.send_signal(signal.SIGCONT)
                last = int(writer.stdout.readline())
            writer.send_signal(signal.SIGSTOP)
            writer.kill()
            writer.wait()
            last = max([last, *map(int, writer.stdout.read().split())])
            with lyredb.open(path) as db:
                assert db.check().ok
                assert b"%d" % last in db
                # Writers before this one may have come further.
                highest = max(highest, last)
                assert len(db) <= highest + 2
