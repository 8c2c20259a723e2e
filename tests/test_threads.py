"""Any object from any thread."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy
import pytest

import lyredb


def run(*work: Callable[[], None]) -> None:
    errors: list[BaseException] = []

    def guarded(function: Callable[[], None]) -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]


def test_readers_see_whole_commits(db: Any) -> None:
    """Money moves between accounts; every snapshot, transaction and scan sees the same sum."""
    accounts = db.family("accounts", key="int", value="int")
    accounts.update(dict.fromkeys(range(20), 100))
    until = time.monotonic() + 1.5

    def move() -> None:
        while time.monotonic() < until:
            source, target = random.sample(range(20), 2)

            def transfer(t: Any, source: int = source, target: int = target) -> None:
                mine = t.family("accounts")
                mine[source] -= 1
                mine[target] += 1

            db.retry(transfer, attempts=1000)

    def read() -> None:
        while time.monotonic() < until:
            assert sum(accounts.scan().values()) == 2000
            with db.snapshot() as s:
                assert sum(s.family("accounts").multi_get(range(20))) == 2000
            with db.transaction() as t:
                assert sum(value for _, value in t.family("accounts").scan(reverse=True)) == 2000

    run(move, move, read, read)
    assert sum(accounts.values()) == 2000


def test_writers_of_many_families(db: Any) -> None:
    families = [db.family(f"f{at}", key="int", value="int") for at in range(4)]

    def fill(family: Any) -> Callable[[], None]:
        def work() -> None:
            for at in range(300):
                family[at] = at
                if at % 3 == 0:
                    del family[at]

        return work

    run(*(fill(family) for family in families for _ in range(2)))
    assert all(list(family) == [at for at in range(300) if at % 3] for family in families)


def test_one_transaction_from_many_threads(db: Any) -> None:
    t = db.transaction()

    def fill(first: int) -> Callable[[], None]:
        def work() -> None:
            for at in range(first, 400, 4):
                t[b"%03d" % at] = b""
                assert b"%03d" % at in t
                list(t.scan(limit=3))

        return work

    run(*(fill(first) for first in range(4)))
    t.commit()
    assert len(db) == 400


def test_close_while_others_work(path: Any) -> None:
    for _ in range(5):
        db = lyredb.open(path, key="int", value="bytes")
        db.update(dict.fromkeys(range(500), b"v" * 50))
        started = threading.Barrier(5)

        def until_closed(act: Callable[[], object], started: threading.Barrier = started) -> Callable[[], None]:
            def work() -> None:
                started.wait()
                try:
                    while True:
                        act()
                except lyredb.ClosedError:
                    pass

            return work

        def close(db: Any = db, started: threading.Barrier = started) -> None:
            started.wait()
            time.sleep(0.02)  # into the midst of their work
            db.close()

        run(
            close,
            until_closed(lambda db=db: db.get(random.randrange(500))),
            until_closed(lambda db=db: list(db.scan())),
            until_closed(lambda db=db: db.put(random.randrange(500), b"w")),
            until_closed(lambda db=db: db.retry(lambda t: t.put(1, b"x"), attempts=100)),
        )


def test_families_made_by_many_threads(db: Any) -> None:
    made: list[Any] = []
    run(*(lambda: made.append(db.family("f", key="str", value="str")) for _ in range(8)))
    assert len({id(family) for family in made}) == 1


def test_the_gil_is_free_while_waiting(path: Any) -> None:
    """A thread that waits for the disk does not stop one that computes."""
    with lyredb.open(path, durability="sync") as db:
        stop = threading.Event()
        writes = 0

        def write() -> None:
            nonlocal writes
            while not stop.is_set():
                db[b"k"] = b"v"
                writes += 1

        thread = threading.Thread(target=write)
        thread.start()
        begin = time.perf_counter()
        sum(range(2_000_000))
        computed = time.perf_counter() - begin
        stop.set()
        thread.join()
    assert computed < 5


@pytest.mark.parametrize("change", ["put", "delete"])
def test_a_change_behind_a_long_commit_of_another_family_lets_other_threads_run(db: Any, change: str) -> None:
    rows = numpy.arange(400_000, dtype=numpy.int64)
    small, large = db.family("small"), db.family("large", key="int", value="int")
    small.update({b"%d" % at: b"v" for at in range(10_000)})
    act = small.delete if change == "delete" else lambda key: small.put(key, b"w")
    done = threading.Event()
    ticks = 0
    waits: list[tuple[float, int]] = []

    def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.0005)

    def write() -> None:
        for at in range(10_000):
            if done.is_set():
                return
            begun, before = time.perf_counter(), ticks
            act(b"%d" % at)
            waits.append((time.perf_counter() - begun, ticks - before))
            time.sleep(0.0005)

    threads = [threading.Thread(target=tick), threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        large.write_batch((rows, rows))
    done.set()
    for thread in threads:
        thread.join()
    # One turn in 20 ms: a thread that held the GIL while it waited would leave them none.
    assert all(meanwhile >= seconds // 0.02 for seconds, meanwhile in waits), max(waits)
