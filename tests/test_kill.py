"""A process that writes is killed at any moment: what it was told to be stored is there, and no half of a commit."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import writer_to_kill as writer

import lyredb

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")

ROUNDS = 8
LONG_ROUNDS = 250
ROUNDS_A_FOLDER = 10
Ledger = dict[int, int]


def run_writer(
    path: Path, durability: str, ledger: Ledger, *, end: signal.Signals | None, after: float, ready: bool = True
) -> int:
    """Runs the writer until a signal or, without one, its own end `after` seconds; notes what it acknowledged.

    The time counts from when it writes or, with `ready` false, from when it starts: then it may be killed while it
    still recovers from the last kill. Gives its exit status.
    """
    seconds = 0 if end is not None else after
    command = [sys.executable, writer.__file__, str(path), durability, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        writing = threading.Event()
        lines: list[str] = []

        def read(stream: Any) -> None:
            for line in stream:
                if line == "writing\n":
                    writing.set()
                else:
                    lines.append(line)
            writing.set()

        reader = threading.Thread(target=read, args=(process.stdout,))
        reader.start()
        if end is not None:
            if ready:
                assert writing.wait(30)
            time.sleep(after)
            process.send_signal(end)
        status = process.wait(30)
        reader.join()
        errors = process.stderr.read()
    assert not errors, errors
    for line in lines:
        assert line.endswith("\n"), line
        thread, number = map(int, line.split())
        assert number > ledger.get(thread, -1)
        ledger[thread] = number
    return status


def verify(path: Path, ledger: Ledger) -> None:
    with lyredb.open(path, **writer.SETTINGS) as db:
        report = db.check()
        assert report.ok, report
        known = writer.families(db)
        for thread in range(writer.THREADS):
            last = writer.last_number(db, thread)
            assert last >= ledger.get(thread, -1), f"thread {thread} lost acknowledged commits"
            verify_thread(known, thread, last)


def verify_thread(known: dict[str, Any], thread: int, last: int) -> None:
    """All commits up to the last one are there, whole, and nothing else."""
    numbers = range(last + 1)
    expected: dict[str, dict[Any, bytes]] = {
        "single": {(thread, number): writer.value_of(number) for number in numbers if number % 3 == 0},
        "batches": {
            (thread, number, part): writer.value_of(number)
            for number in numbers
            if number % 3 == 1
            for part in range(3)
        },
    }
    transactions = [number for number in numbers if number % 3 == 2]
    newest = transactions[-1:]
    sides: dict[Any, bytes] = {
        (thread, number, part): writer.value_of(number) for number in transactions for part in range(2)
    }
    for number in newest:
        sides |= {(thread, "slot", slot): writer.value_of(number) for slot in range(writer.SLOTS)}
    expected |= {"left": sides, "right": sides}
    expected["pending"] = {(thread, number): writer.value_of(number) for number in newest}
    for name, records in expected.items():
        found = dict(known[name].scan(prefix=(thread,)))
        if found != records:  # the difference says more than two dicts of thousands
            missing = sorted(map(repr, records.keys() - found.keys()))[:5]
            extra = sorted(map(repr, found.keys() - records.keys()))[:5]
            wrong = sorted(repr(key) for key in records.keys() & found.keys() if records[key] != found[key])[:5]
            pytest.fail(f"{name}, thread {thread}, last {last}: missing {missing}, extra {extra}, wrong {wrong}")


def kill_again_and_again(folder: Path, durability: str, rounds: int) -> None:
    ledger: Ledger = {}
    acknowledged = 0
    path = folder / "0"
    for number in range(rounds):
        if number % ROUNDS_A_FOLDER == 0:
            path, ledger = folder / str(number), {}
        # Every fourth is killed while it starts: imports, recovery, the first commits.
        ready = number % 4 != 3
        after = random.random() * (0.25 if ready else 0.4)
        before = sum(ledger.values())
        status = run_writer(path, durability, ledger, end=signal.SIGKILL, after=after, ready=ready)
        assert status == -signal.SIGKILL, f"the writer ended by itself: {status}"
        acknowledged += sum(ledger.values()) - before
        verify(path, ledger)
    assert acknowledged > rounds, "next to nothing was written"


@pytest.mark.parametrize("durability", ["sync", "group"])
def test_kill(tmp_path: Path, durability: str) -> None:
    kill_again_and_again(tmp_path, durability, ROUNDS)


@pytest.mark.long
@pytest.mark.parametrize("durability", ["sync", "group"])
def test_kill_hundreds_of_times(tmp_path: Path, durability: str) -> None:
    kill_again_and_again(tmp_path, durability, LONG_ROUNDS)


@pytest.mark.parametrize("durability", ["sync", "group"])
def test_terminated(path: Path, durability: str) -> None:
    ledger: Ledger = {}
    for _ in range(2):
        status = run_writer(path, durability, ledger, end=signal.SIGTERM, after=0.1)
        assert status == -signal.SIGTERM
        verify(path, ledger)
    assert ledger


def test_end_of_the_program_while_threads_write(path: Path) -> None:
    """Even with "async" the normal end of a program stores all commits that were done."""
    ledger: Ledger = {}
    for _ in range(2):
        assert run_writer(path, "async", ledger, end=None, after=0.15) == 0
        verify(path, ledger)
    # A program that makes an exit of a signal ends normally, too.
    assert run_writer(path, "async", ledger, end=signal.SIGINT, after=0.15) == 0
    verify(path, ledger)
    assert set(ledger) == set(range(writer.THREADS))
