"""Stores that are measured in turn: a process each, all open and warm at the same time, of which one works.

Others use the machine too, and a store that had it to itself for ten seconds would be compared with one that had not.
Turns of half a second give each the same of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import IO, Any

from ..channel import last_words
from ..runner import ROOT, MeasurementError

# What a process says once it is warm, what it is told for a turn and after the last, what it says after a turn.
TURN_SECONDS = 0.5
READY, GO, END, DONE = "ready", "go", "end", "done"


class _Player:
    """One store's process."""

    def __init__(self, worker: str) -> None:
        self._errors: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `close`
        self._process = subprocess.Popen(
            [sys.executable, "-m", worker],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
        )

    def ask(self, line: str) -> str:
        """Send a line and wait for the answer.

        Raises:
            MeasurementError: the process ended instead.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # Why a pipe is broken is among its errors.
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            status = self._process.wait()
            self._errors.seek(0)
            raise MeasurementError(last_words(self._errors.read(), status))
        return answer.strip()

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        with suppress(BrokenPipeError):
            self._process.communicate()
        self._errors.close()


def play(
    requests: Mapping[str, Any], worker: str, turns: int, shuffle: Callable[[list[str]], None]
) -> dict[str, dict[str, Any] | MeasurementError]:
    """Ask a process for each store, let them work in turn, and give each store's answer, or what went wrong."""
    players: dict[str, _Player] = {}
    answers: dict[str, dict[str, Any] | MeasurementError] = {}

    def ask(store: str, line: str) -> str | None:
        try:
            return players[store].ask(line)
        except MeasurementError as error:
            answers[store] = error
            players.pop(store).close()
            return None

    try:
        for store, request in requests.items():
            players[store] = _Player(worker)
            ask(store, json.dumps(asdict(request)))
        for _ in range(turns):
            order = list(players)
            shuffle(order)
            for store in order:
                ask(store, GO)
        for store in list(players):
            answer = ask(store, END)
            if answer is not None:
                answers[store] = json.loads(answer)
    finally:
        for player in players.values():
            player.close()
    return answers
