"""Making the table: workloads of all kinds, run and looked at as the tuner does."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import lyredb
from lyredb.autotune import table, windows
from lyredb.autotune.features import Vector
from lyredb.autotune.kinds import KINDS
from lyredb.autotune.workloads import Running, Workload, variants

# The family's name when it is worked on: it says nothing to anybody.
FAMILY = "work"


def watch(workload: Workload, seconds: float) -> list[Vector]:
    """Runs a workload in a database of its own, and takes the windows with enough work in them.

    The first window is left out: it has some of the loading in it.
    """
    with scratch() as database:
        reader = windows.Windows(database._engine)  # pyright: ignore[reportPrivateUsage]
        family = workload.family(database, FAMILY)
        workload.load(family)
        with Running(workload, family):
            time.sleep(windows.SECONDS)
            reader.take()
            return look(reader, seconds)


@contextmanager
def scratch(key: str = "bytes") -> Generator[lyredb.Database[Any, Any], None, None]:
    """A new database, that is thrown away. Nothing waits for the disk, which no feature tells of."""
    with (
        tempfile.TemporaryDirectory(prefix="lyredb-", ignore_cleanup_errors=True) as folder,
        lyredb.open(Path(folder) / "db", durability="async", key=key) as database,
    ):
        yield database


def look(reader: windows.Windows, seconds: float) -> list[Vector]:
    """The windows of the family that is worked on for so long."""
    seen: list[Vector] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(windows.SECONDS)
        vector = reader.take().get(FAMILY)
        if vector is not None:
            seen.append(vector)
    return seen


def run(
    workloads: Sequence[Workload], *, seconds: float, processes: int, progress: Callable[[int, int], object] | None
) -> list[tuple[Workload, list[Vector]]]:
    """Watches workloads, some at a time in processes of their own, and returns them in their order.

    Args:
        seconds: How long each is looked at, after it was loaded.
        processes: How many run at once. Features do not depend on how fast the work is.
        progress: Called with how many are done, and of how many.
    """
    # Nothing of this process is to be in those: threads and locks do not survive a fork.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(watch, workload, seconds): place for place, workload in enumerate(workloads)}
        found: dict[int, list[Vector]] = {}
        try:
            for future in as_completed(waiting):
                found[waiting[future]] = future.result()
                if progress is not None:
                    progress(len(found), len(workloads))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [(workload, found[place]) for place, workload in enumerate(workloads)]


def made(windows: Sequence[tuple[Workload, Sequence[Vector]]]) -> table.Table:
    """A table of what was seen of workloads; those of which nothing was seen are left out."""
    seen = [(workload, vectors) for workload, vectors in windows if len(vectors)]
    return table.Table(
        vectors=np.vstack([np.asarray(vectors) for _, vectors in seen]),
        workload=np.repeat(np.arange(len(seen)), [len(vectors) for _, vectors in seen]),
        digests=tuple(workload.digest() for workload, _ in seen),
        variants=tuple(f"{workload.kind}/{workload.variant}" for workload, _ in seen),
        shares=np.array([[workload.shares.get(kind, 0.0) for kind in KINDS] for workload, _ in seen]),
    )


def train(
    *, count: int, seconds: float, seed: int, processes: int, progress: Callable[[int, int], object] | None = None
) -> table.Table:
    """The table of some hundred workloads; see `run`."""
    return made(run(variants(count, seed), seconds=seconds, processes=processes, progress=progress))
