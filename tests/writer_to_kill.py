"""A process that commits from several threads until it is ended: `writer_to_kill.py FOLDER DURABILITY SECONDS`.

Each line it prints, "thread number", says that all commits of that thread up to that number are acknowledged: as
durable with "sync", by `db.sync()` otherwise. "+open" and "-open" say that it begins and ends to open the database; the
same for "checkpoint", "compact" and "close". "=thread number" is the last commit of a thread
that it finds when it has opened the database. "*records warm" says, before it closes, how many point reads were
answered from excerpts of leaves, and from leaves as they are stored. Anything else it prints is an error.

After SECONDS the program comes to its end with the database open and its threads at work: then with "async" a commit
is acknowledged when it is done. If SECONDS is 0 it closes and opens the database again and again, with its threads at
work, until it is killed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lyredb

THREADS = 3
SLOTS = 3
COMMITS_A_SYNC = 7
# Checkpoints, consolidations, evictions and long values all happen within a fraction of a second.
SETTINGS = {
    "memory_bytes": 1 << 20,
    "checkpoint_log_bytes": 1 << 20,
    "leaf_bytes": 1024,
    "blob_bytes": 512,
    # So that leaves go from images to what is stored, to disk, to excerpts and back.
    "hot_bytes": 0,
    "warm_bytes": 16 << 10,
    "point_cache_bytes": 16 << 10,
}
LONG, SHORT = 700, 20
LONGEST_LIFE_SECONDS = 0.06


def say(text: str) -> None:
    # One write of a few bytes: lines of different threads do not mix, and nothing stays in this process.
    os.write(1, text.encode() + b"\n")


@contextmanager
def phase(name: str) -> Iterator[None]:
    say(f"+{name}")
    try:
        yield
    finally:
        say(f"-{name}")


def value_of(number: int) -> bytes:
    """What the commit of that number stores: every seventh commit, a value kept outside the leaves."""
    return b"%d." % number + b"x" * (LONG if number % 7 == 0 else SHORT)


def families(db: Any) -> dict[str, Any]:
    known = {name: db.family(name, key="tuple") for name in ("single", "batches", "left", "right", "pending")}
    return known | {"seen": db.family("seen", key="int", value="json")}


def commit(db: Any, thread: int, number: int, seen: list[int]) -> None:
    """By its number a put, a batch of three, or a transaction over several keys of several families.

    A transaction also notes the commits of all threads that it has certainly come after.
    """
    known = families(db)
    value = value_of(number)
    if number % 3 == 0:
        known["single"].put((thread, number), value)
    elif number % 3 == 1:
        known["batches"].write_batch([((thread, number, part), value) for part in range(3)])
    else:
        with db.transaction() as t:
            for side in ("left", "right"):
                family = t.family(side)
                for part in range(2):
                    family[thread, number, part] = value
                for slot in range(SLOTS):
                    family[thread, "slot", slot] = value
            pending = t.family("pending")
            pending.delete((thread, number - 3))
            pending[thread, number] = value
            t.family("seen")[thread] = seen


def last_number(known: dict[str, Any], thread: int) -> int:
    """The number of the thread's last commit; -1 if there is none."""
    last = -1
    for name in ("single", "batches", "left"):
        if name not in known:
            continue
        for key, _value in known[name].scan(prefix=(thread,), reverse=True):
            if key[1] != "slot":
                last = max(last, key[1])
                break
    return last


class Writer:
    """The database, and the threads that use it until it is closed."""

    def __init__(self, folder: str, durability: str, *, syncs: bool) -> None:
        self.syncs = syncs
        with phase("open"):
            self.db: Any = lyredb.open(folder, durability=durability, **SETTINGS)
        known = families(self.db)
        self.done = [last_number(known, thread) for thread in range(THREADS)]
        for thread, number in enumerate(self.done):
            say(f"={thread} {number}")
        work: list[Any] = [lambda thread=thread: self.write(thread) for thread in range(THREADS)]
        self.threads = [
            threading.Thread(target=self.guard, args=(each,), daemon=True) for each in (*work, self.read, self.maintain)
        ]
        for thread in self.threads:
            thread.start()

    def guard(self, work: Any) -> None:
        try:
            work()
        except lyredb.ClosedError:
            return  # closed, or the end of the program
        except BaseException:
            say("error: " + traceback.format_exc())
            os._exit(3)

    def write(self, thread: int) -> None:
        number = self.done[thread]
        while True:
            number += 1
            commit(self.db, thread, number, list(self.done))
            self.done[thread] = number
            if self.syncs:
                if number % COMMITS_A_SYNC:
                    continue
                self.db.sync()
            say(f"{thread} {number}")

    def read(self) -> None:
        """Commits of long ago, whose leaves have been driven out, some more than once."""
        single = self.db.family("single", key="tuple")
        while True:
            thread = random.randrange(THREADS)
            first = random.randrange(self.done[thread] // 3 + 1) * 3
            for number in [*range(first, first + 30, random.choice((3, 30)))] * 2:
                if number <= self.done[thread]:
                    found = single.get((thread, number))
                    assert found == value_of(number), f"{number} of thread {thread} is {found!r}"
            time.sleep(0.001)

    def maintain(self) -> None:
        """Kills shall come in the middle of checkpoints and compactions too, and while memory is divided anew."""
        while True:
            time.sleep(random.random() * 0.02)
            if random.random() < 0.3:
                part = random.choice(("hot_bytes", "warm_bytes", "point_cache_bytes"))
                self.db.configure(
                    **{part: random.choice((0, 0, 16 << 10) if part == "hot_bytes" else (0, 8 << 10, 1 << 20))}
                )
            name = random.choice(("checkpoint", "compact"))
            with phase(name):
                getattr(self.db, name)()

    def close(self) -> None:
        figures = self.db.stats().families.values()
        counted = [sum(family[name] for family in figures) for name in ("gets_from_records", "gets_from_warm")]
        say("*{} {}".format(*counted))
        with phase("close"):
            self.db.close()
        for thread in self.threads:
            thread.join()


def main(folder: str, durability: str, seconds: str) -> None:
    random.seed()  # a forked process would do what its siblings do
    if float(seconds):
        signal.signal(signal.SIGINT, lambda _number, _frame: sys.exit(0))
        writer = Writer(folder, durability, syncs=durability == "group")
        say("+write")
        time.sleep(float(seconds))
        assert not writer.db.closed
        return
    while True:
        writer = Writer(folder, durability, syncs=durability != "sync")
        time.sleep(random.random() * LONGEST_LIFE_SECONDS)
        writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
