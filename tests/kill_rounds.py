"""Kills a writer again and again: `kill_rounds.py FOLDER DURABILITY ROUNDS SEED`; run by test_kill.py, several at once.

Prints a line of JSON for each round. Ends with an error, and leaves the folder as it is, if anything is not as it has
to be. This process never has a thread when it forks a writer.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import format_reader
import writer_to_kill as writer

import lyredb

ROUNDS_A_FOLDER = 10
# What the kill is aimed at. "start" is a new interpreter: its imports, and what comes then.
AIMS = ("start", "open", "write", "write", "write", "checkpoint", "compact", "close")
LONGEST_WAIT_SECONDS = 60
Ledger = dict[int, int]


class Victim:
    """A writer, what it acknowledged, and what it was just doing."""

    def __init__(self, path: Path, durability: str, *, interpreter: bool) -> None:
        arguments = (str(path), durability, "0")
        self.lines: list[str] = []
        self.phases: set[str] = set()
        self.acknowledged: Ledger = {}
        # Point reads answered from excerpts, and from leaves as they are stored.
        self.reads = [0, 0]
        self.count = 0
        self.output, its_output = os.pipe()
        if interpreter:
            command = [sys.executable, writer.__file__, *arguments]
            self.pid = subprocess.Popen(command, stdout=its_output, stderr=its_output).pid
        else:
            self.pid = os.fork()
            if self.pid == 0:
                os.dup2(its_output, 1)
                os.dup2(its_output, 2)
                try:
                    writer.main(*arguments)
                finally:
                    os._exit(3)
        os.close(its_output)
        self.rest = b""

    def read(self, seconds: float) -> bool:
        """Reads what it said, waiting for a while if that is nothing; false at its end."""
        if not select.select([self.output], [], [], seconds)[0]:
            return True
        data = os.read(self.output, 1 << 16)
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.note(line.decode())
        return bool(data)

    def note(self, line: str) -> None:
        if line[:1] == "+":
            self.phases.add(line[1:])
        elif line[:1] == "-":
            self.phases.discard(line[1:])
        elif line[:1] == "*":
            self.reads = [before + int(count) for before, count in zip(self.reads, line[1:].split(), strict=True)]
        else:
            try:
                thread, number = map(int, line.removeprefix("=").split())
            except ValueError:
                raise AssertionError(f"the writer says: {line}") from None
            before = self.acknowledged.get(thread, -1)
            if line[0] == "=":
                assert number >= before, f"opened again, {number} is the last of thread {thread}, {before} acknowledged"
                return
            assert number > before, f"thread {thread} acknowledges {number} after {before}"
            self.acknowledged[thread] = number
            self.count += 1

    def wait_for(self, aim: str) -> None:
        until = time.monotonic() + LONGEST_WAIT_SECONDS
        acknowledgements = random.randrange(40)
        while (self.count < acknowledgements) if aim == "write" else (aim not in self.phases):
            assert self.read(1), "the writer ended by itself"
            assert time.monotonic() < until, f"the writer hangs in {self.phases or 'its work'}"

    def kill(self, aim: str) -> str:
        """Kills it; tells in the middle of what."""
        if aim == "start":
            time.sleep(random.random() * 0.2)
        else:
            self.wait_for(aim)
            # As often within the first 0.1 ms as within 10 ms.
            time.sleep(10 ** random.uniform(-5, -2))
        os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        while self.read(0):
            pass
        os.close(self.output)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, f"the writer ended by itself: {status}"
        assert not self.rest, self.rest
        within = self.phases & {"open", "close", "checkpoint", "compact"}
        return "+".join(sorted(within)) or ("write" if self.count else "start")


def verify(db: Any, ledger: Ledger) -> None:
    """All commits that were acknowledged, or seen before, are there; of the others a prefix; of none a part."""
    report = db.check()
    assert report.ok, report
    known = writer.families(db) if not db.read_only else {name: db.existing_family(name) for name in db.families()}
    last = {thread: writer.last_number(known, thread) for thread in range(writer.THREADS)}
    for thread, number in last.items():
        assert number >= ledger.get(thread, -1), f"thread {thread}: {number} is its last, {ledger} were acknowledged"
        verify_thread(known, thread, number)
    for thread, seen in known["seen"].items() if "seen" in known else ():
        ahead = [other for other, number in enumerate(seen) if number > last[other]]
        assert not ahead, f"thread {thread} saw the commits {seen}, and of {last} some are lost"
    ledger |= last


def verify_thread(known: dict[str, Any], thread: int, last: int) -> None:
    """All commits up to the last one are there, whole, and nothing else."""
    numbers = range(last + 1)
    expected: dict[str, dict[Any, bytes]] = {
        "single": {(thread, number): writer.value_of(number) for number in numbers[::3]},
        "batches": {(thread, number, part): writer.value_of(number) for number in numbers[1::3] for part in range(3)},
    }
    transactions = numbers[2::3]
    newest = transactions[-1:]
    sides: dict[Any, bytes] = {
        (thread, number, part): writer.value_of(number) for number in transactions for part in range(2)
    }
    for number in newest:
        sides |= {(thread, "slot", slot): writer.value_of(number) for slot in range(writer.SLOTS)}
    expected |= {"left": sides, "right": sides}
    expected["pending"] = {(thread, number): writer.value_of(number) for number in newest}
    for name, records in expected.items():
        found = dict(known[name].scan(prefix=(thread,))) if name in known else {}
        if found != records:  # the difference says more than two dicts of thousands
            missing = sorted(map(repr, records.keys() - found.keys()))[:5]
            extra = sorted(map(repr, found.keys() - records.keys()))[:5]
            wrong = sorted(repr(key) for key in records.keys() & found.keys() if records[key] != found[key])[:5]
            raise AssertionError(f"{name}, thread {thread}, last {last}: {missing=}, {extra=}, {wrong=}")


def examine(path: Path, ledger: Ledger) -> None:
    if not path.joinpath("pages.lyre").exists():
        assert not ledger
        return
    read_only = random.random() < 0.5
    before = files_of(path)
    with lyredb.open(path, read_only=read_only, **writer.SETTINGS) as db:
        verify(db, ledger)
        if read_only and random.random() < 0.2:
            assert format_reader.read(path).contents(format_reader.now()) == format_reader.raw_contents(db)
    # Opened for reading only the database stays as the kill left it, and the next writer has to recover too.
    assert not read_only or files_of(path) == before


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def main(folder: str, durability: str, rounds: str, seed: str) -> None:
    random.seed(int(seed))
    ledger: Ledger = {}
    path = Path(folder)
    for number in range(int(rounds)):
        if number % ROUNDS_A_FOLDER == 0:
            shutil.rmtree(path, ignore_errors=True)
            path, ledger = Path(folder) / str(number), {}
        aim = random.choice(AIMS)
        victim = Victim(path, durability, interpreter=aim == "start")
        within = victim.kill(aim)
        for thread, acknowledged in victim.acknowledged.items():
            ledger[thread] = max(acknowledged, ledger.get(thread, -1))
        examine(path, ledger)
        print(json.dumps({"within": within, "acknowledged": victim.count, "reads": victim.reads}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
