"""An arm: one database, opened once, that does the whole timeline under one choice of settings."""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lyredb
from lyredb import presets
from lyredb.experiments.flights.phases import Mirror, Phase
from lyredb.experiments.flights.phases.base import Database
from lyredb.experiments.flights.timeline import DEFAULT, TUNED

# Of the presets, "default" is an arm that the others are compared with.
ARMS = (TUNED, DEFAULT, *(name for name in presets.names() if name != DEFAULT))


@dataclass(frozen=True)
class Arm:
    """An arm, loaded. `mirror` is what pandas says that the database holds."""

    name: str
    database: Database
    mirror: Mirror
    load_seconds: float


@contextmanager
def scratch(folder: Path) -> Generator[Path, None, None]:
    """An empty folder that is removed in the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def loaded(name: str, phases: Sequence[Phase[Any]], folder: Path) -> Generator[Arm, None, None]:
    """A new database with the families of all phases, under the settings of an arm; closed in the end."""
    begin = time.perf_counter()
    with _open(folder / name, name) as database:
        for phase in phases:
            phase.load(database)
        database.checkpoint()
        yield Arm(name, database, Mirror.of(phases[0].data), time.perf_counter() - begin)


def _open(path: Path, name: str) -> Database:
    if name == TUNED:
        return lyredb.open(path, autotune=True)
    return lyredb.open(path, preset=name)
