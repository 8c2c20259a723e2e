"""A process that writes is killed at any moment: what it was told to be stored is there, and no half of a commit."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
if sys.platform != "win32":
    import kill_rounds
    import writer_to_kill as writer
    from effort import scaled, tally

ROUNDS = {"sync": 240, "group": 240, "async": 120}
PROGRESS_SECONDS = 60


class Lane(threading.Thread):
    """Kills writers of one durability, one after the other."""

    def __init__(self, folder: Path, durability: str) -> None:
        super().__init__()
        self.rounds = scaled(ROUNDS[durability])
        self.command = [str(folder / durability), durability, str(self.rounds), str(random.randrange(1 << 32))]
        self.within = Counter[str]()
        self.acknowledged = 0
        self.reads = [0, 0]
        self.error: str | None = None

    def run(self) -> None:
        command = [sys.executable, kill_rounds.__file__, *self.command]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as rounds:
            assert rounds.stdout is not None
            said: list[str] = []
            for line in rounds.stdout:
                if line.startswith("{"):
                    found = json.loads(line)
                    self.acknowledged += found["acknowledged"]
                    self.within[found["within"]] += 1
                    self.reads = [before + count for before, count in zip(self.reads, found["reads"], strict=True)]
                else:
                    said.append(line)
        if said or rounds.returncode:
            self.error = f"{self.command} ended with {rounds.returncode}:\n" + "".join(said)

    @property
    def done(self) -> int:
        return sum(self.within.values())


def test_kill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the middle of the start, recovery, commits, checkpoints, compactions, and while it closes."""
    lanes = [Lane(tmp_path, durability) for durability in ROUNDS]
    for lane in lanes:
        lane.start()
    told = time.monotonic()
    while any(lane.is_alive() for lane in lanes):
        time.sleep(0.1)
        if time.monotonic() > told + PROGRESS_SECONDS:
            told = time.monotonic()
            with capsys.disabled():
                print(f"\nkilled {sum(lane.done for lane in lanes)} of {sum(lane.rounds for lane in lanes)}", end="")
    assert not any(lane.error for lane in lanes), "\n".join(lane.error or "" for lane in lanes)
    within = Counter[str]()
    for lane in lanes:
        assert lane.done == lane.rounds
        for phases, count in lane.within.items():
            for phase in phases.split("+"):
                within[phase] += count
    print(within)
    rounds = sum(lane.rounds for lane in lanes)
    if rounds > 100:
        rare = [aim for aim in kill_rounds.AIMS if within[aim] < rounds / 100]
        assert not rare, f"hardly ever killed within {rare}: {within}"
        reads = [sum(counts) for counts in zip(*(lane.reads for lane in lanes), strict=True)]
        assert min(reads) > rounds / 10, f"leaves were hardly read in all forms: {reads}"
    tally("kill -9 rounds", rounds)
    tally("acknowledged commits checked", sum(lane.acknowledged for lane in lanes))


def run_writer(path: Path, durability: str, ledger: dict[int, int], *, end: signal.Signals | None, after: float) -> int:
    """Runs the writer until a signal or, without one, its own end `after` seconds; notes what it acknowledged."""
    seconds = 60 if end is not None else after
    command = [sys.executable, writer.__file__, str(path), durability, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout)
        assert "+write\n" in lines
        if end is not None:
            threading.Timer(after, process.send_signal, [end]).start()
        said = [line for line in lines if line[0] not in "+-=*"]
        status = process.wait(30)
    assert all(line[0].isdigit() for line in said), "".join(line for line in said if not line[0].isdigit())
    for thread, number in (map(int, line.split()) for line in said):
        assert number > ledger.get(thread, -1)
        ledger[thread] = number
    return status


def verify(path: Path, ledger: dict[int, int]) -> None:
    import lyredb

    with lyredb.open(path, **writer.SETTINGS) as db:
        kill_rounds.verify(db, ledger)


@pytest.mark.parametrize("durability", ["sync", "group"])
def test_terminated(path: Path, durability: str) -> None:
    ledger: dict[int, int] = {}
    for _ in range(2):
        assert run_writer(path, durability, ledger, end=signal.SIGTERM, after=0.1) == -signal.SIGTERM
        assert ledger
        verify(path, ledger)


def test_end_of_the_program_while_threads_write(path: Path) -> None:
    """Even with "async" the normal end of a program stores all commits that were done."""
    ledger: dict[int, int] = {}
    for _ in range(2):
        assert run_writer(path, "async", ledger, end=None, after=0.15) == 0
        verify(path, ledger)
    # A program that makes an exit of a signal ends normally, too.
    assert run_writer(path, "async", ledger, end=signal.SIGINT, after=0.15) == 0
    verify(path, ledger)
    assert set(ledger) == set(range(writer.THREADS))
