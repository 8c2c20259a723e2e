"""A process that commits from several threads until it is ended: `writer_to_kill.py FOLDER DURABILITY SECONDS`.

Each line it prints, "thread number", says that all commits of that thread up to that number are acknowledged: as
durable with "sync", by `db.sync()` with "group", as done with "async". After SECONDS, if not 0, the program comes to
its end with the database open and its threads at work.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from typing import Any

import lyredb

THREADS = 3
SLOTS = 3
COMMITS_A_SYNC = 7
# Checkpoints, consolidations, evictions and long values all happen within a fraction of a second.
SETTINGS = {"memory_bytes": 1 << 20, "checkpoint_log_bytes": 1 << 20, "leaf_bytes": 1024, "blob_bytes": 512}
LONG, SHORT = 700, 20


def value_of(number: int) -> bytes:
    """What the commit of that number stores: every seventh commit, a value kept outside the leaves."""
    return b"%d." % number + b"x" * (LONG if number % 7 == 0 else SHORT)


def families(db: Any) -> dict[str, Any]:
    return {name: db.family(name, key="tuple") for name in ("single", "batches", "left", "right", "pending")}


def commit(db: Any, thread: int, number: int) -> None:
    """By its number a put, a batch of three, or a transaction over several keys of several families."""
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


def last_number(db: Any, thread: int) -> int:
    """The number of the thread's last commit; -1 if there is none."""
    known = families(db)
    last = -1
    for name in ("single", "batches", "left"):
        for key, _value in known[name].scan(prefix=(thread,), reverse=True):
            if key[1] != "slot":
                last = max(last, key[1])
                break
    return last


def write(db: Any, thread: int, durability: str) -> None:
    number = last_number(db, thread)
    try:
        while True:
            number += 1
            commit(db, thread, number)
            if durability == "group":
                if number % COMMITS_A_SYNC:
                    continue
                db.sync()
            # One write of a few bytes: lines of different threads do not mix, and nothing stays in this process.
            os.write(1, b"%d %d\n" % (thread, number))
    except lyredb.ClosedError:
        return  # the end of the program closed the database
    except BaseException as error:
        os.write(2, f"thread {thread}, commit {number}: {error!r}\n".encode())
        os._exit(3)


def maintain(db: Any) -> None:
    """Kills shall come in the middle of checkpoints and compactions too."""
    try:
        while True:
            time.sleep(random.random() * 0.05)
            random.choice((db.checkpoint, db.compact))()
    except lyredb.ClosedError:
        return
    except BaseException as error:
        os.write(2, f"maintenance: {error!r}\n".encode())
        os._exit(3)


def main(folder: str, durability: str, seconds: str) -> None:
    signal.signal(signal.SIGINT, lambda _number, _frame: sys.exit(0))
    db: Any = lyredb.open(folder, durability=durability, **SETTINGS)
    families(db)
    for thread in range(THREADS):
        threading.Thread(target=write, args=(db, thread, durability), daemon=True).start()
    threading.Thread(target=maintain, args=(db,), daemon=True).start()
    os.write(1, b"writing\n")
    time.sleep(float(seconds) or 600)


if __name__ == "__main__":
    main(*sys.argv[1:])
