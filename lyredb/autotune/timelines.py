"""Work that changes, really run: of the workloads, of the demo's phases, and of real traces."""

from __future__ import annotations

import gzip
import lzma
import threading
import time
from array import array
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

import lyredb
from lyredb import extras
from lyredb.autotune import training, windows
from lyredb.autotune.features import Vector
from lyredb.autotune.workloads import Running, Workload

_TTL_SECONDS = 1.0
# A cache that throws away holds this part of the keys of a trace.
_ROOM = 0.2
_VALUE = b"x" * 200
# More than are needed: a time series that begins anew overwrites what it appended.
_BLOCKS = 20
# At which part of a window the next work begins.
_CHANGES = (0.1, 0.6, 0.35, 0.85)


def of_workloads(workloads: Sequence[Workload], seconds: float) -> list[list[Vector]]:
    """The windows of workloads that follow each other on one family, for so long each, all loaded before.

    The first window of each has the end of the one before in it.
    """
    with training.scratch() as database:
        placed = [
            replace(each, spelling="text", space=f"{place}/", settings={}) for place, each in enumerate(workloads)
        ]
        family = placed[0].family(database, training.FAMILY)
        for each in placed:
            each.load(family)
        reader = windows.Windows(database._engine)  # pyright: ignore[reportPrivateUsage]
        seen: list[list[Vector]] = []
        for each in placed:
            with Running(each, family):
                if not seen:
                    # What the sketch makes of the loading is of nobody's work.
                    time.sleep(windows.SECONDS)
                    reader.take()
                seen.append(training.look(reader, seconds))
                # Work changes at any moment of a window.
                time.sleep(windows.SECONDS * _CHANGES[len(seen) % len(_CHANGES)])
    return seen


def of_phases(seconds: float, seed: int) -> dict[str, dict[str, list[Vector]]]:
    """The windows of the demo's phases, each in a database of its own: by phase and family.

    Raises:
        ConfigError: The packages of the demo are not installed.
    """
    # They need pandas, as soon as they are imported.
    flights: Any = extras.required("lyredb.experiments.flights.phases", extra="demo")
    data: Any = extras.required("lyredb.experiments.flights.data", extra="demo").Data()
    found: dict[str, dict[str, list[Vector]]] = {}
    for name, kind in flights.PHASES.items():
        phase = kind(data, 1.0)
        phase.prepare()
        with training.scratch() as database:
            phase.load(database)
            with _watched(database) as seen:
                _repeat(phase, database, flights.Mirror.of(data), seconds, seed)
        found[name] = seen
    return found


def _repeat(phase: Any, database: Any, mirror: Any, seconds: float, seed: int) -> None:
    """The blocks of a phase, one after the other."""
    end = time.monotonic() + seconds
    for number in count():
        work = phase.draw(np.random.default_rng((seed, number)))
        answers: list[Any] = []
        for step in phase.steps(database, mirror, work):
            answers.extend(map(step.operation, step.arguments))
        # It also notes what the next block is to find.
        phase.check(mirror, work, answers)
        if time.monotonic() > end:
            return


@contextmanager
def _watched(database: Any) -> Generator[dict[str, list[Vector]], None, None]:
    """Looks at all families from another thread, as the tuner does."""
    reader, stop = windows.Windows(database._engine), threading.Event()
    seen: dict[str, list[Vector]] = {}

    def watch() -> None:
        while not stop.wait(windows.SECONDS):
            for family, vector in reader.take().items():
                seen.setdefault(family, []).append(vector)

    thread = threading.Thread(target=watch, name="windows", daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def of_traces(folder: Path, seconds: float) -> dict[str, list[Vector]]:
    """The windows of caches that are asked for the keys of real traces.

    Each trace is replayed twice: with values that expire, and with room for a fifth of the keys, from where what came
    first is thrown away.

    Raises:
        FileNotFoundError: There is no trace in the folder.
    """
    found: dict[str, list[Vector]] = {}
    for path in sorted(folder.iterdir()):
        keys = _keys(path)
        if keys:
            name = path.name.split(".")[0]
            found[f"{name}, expiring"] = _replayed(keys, _expiring, seconds)
            found[f"{name}, thrown away"] = _replayed(keys, _thrown_away, seconds)
    if not found:
        raise FileNotFoundError(f"no trace in {folder}: *.trace.gz, *.trace.xz or *.csv.gz")
    return found


def _keys(path: Path) -> array[int]:
    """The keys of a trace: lines of numbers, lines of which the last column is one, or big-endian numbers."""
    if path.name.endswith(".csv.gz"):
        rows = gzip.decompress(path.read_bytes()).decode().splitlines()[1:]
        return array("Q", (int(row.rsplit(",", 1)[1]) for row in rows))
    if path.name.endswith(".trace.gz"):
        words = gzip.decompress(path.read_bytes()).split()
        return array("Q", (int(word) for word in words if word.isdigit()))
    if path.name.endswith(".trace.xz"):
        keys = array("I", lzma.decompress(path.read_bytes()))
        keys.byteswap()
        return array("Q", keys)
    return array("Q")


def _replayed(
    keys: array[int], ask: Callable[[Any, array[int], threading.Event], None], seconds: float
) -> list[Vector]:
    with training.scratch(key="int") as database:
        stop = threading.Event()
        thread = threading.Thread(target=ask, args=(database, keys, stop), name="trace", daemon=True)
        thread.start()
        with _watched(database) as seen:
            time.sleep(seconds)
        stop.set()
        thread.join()
    return seen.get(lyredb.DEFAULT_FAMILY, [])


def _expiring(cache: Any, keys: array[int], stop: threading.Event) -> None:
    while True:
        for key in keys:
            if cache.get(key) is None:
                cache.put(key, _VALUE, ttl=_TTL_SECONDS)
            if stop.is_set():
                return


def _thrown_away(cache: Any, keys: array[int], stop: threading.Event) -> None:
    room = max(1, int(len(set(keys)) * _ROOM))
    held: dict[int, None] = {}
    while True:
        for key in keys:
            if cache.get(key) is None:
                cache.put(key, _VALUE)
                held[key] = None
                if len(held) > room:
                    first = next(iter(held))
                    del held[first]
                    cache.delete(first)
            if stop.is_set():
                return
