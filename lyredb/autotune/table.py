"""The table of windows whose kind is known.

A row is a window of 250 ms of some workload; rows of one workload follow each other as they did in time. The table
that comes with the package is what `lyredb autotune train` made.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lyredb.autotune import features
from lyredb.autotune.kinds import KINDS, UNKNOWN
from lyredb.db.errors import ConfigError

CLASSES: tuple[str, ...] = (*KINDS, UNKNOWN)
_FILE = "windows.npz"
FOLDS = 5
"""Into so many parts workloads are divided, of which one is held back when it is to be told how good a fit is."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Table:
    """Windows, and of which workload each is.

    Attributes:
        vectors: A row for each window: its `features.vector`, in half precision.
        workload: For each window, which of the workloads below it is of.
        digests: What tells each workload from the others: `Workload.digest`.
        variants: What sort of its kind each is.
        shares: For each workload, the share of each of `KINDS`; all 0 where it is of none of them.
    """

    vectors: Floats
    workload: NDArray[np.int64]
    digests: tuple[str, ...]
    variants: tuple[str, ...]
    shares: Floats

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def kinds(self) -> tuple[str, ...]:
        """For each workload its only or its main kind, or "unknown"."""
        places: list[int] = np.argmax(self.classes, axis=1).tolist()
        return tuple(CLASSES[place] for place in places)

    @property
    def classes(self) -> Floats:
        """For each workload, the shares of `CLASSES`: what is of no kind is unknown."""
        return np.column_stack([self.shares, (1.0 - self.shares.sum(axis=1)).round(4)])

    @property
    def pure(self) -> Flags:
        """Which workloads are of one kind alone."""
        return self.shares.max(axis=1) == 1.0

    @property
    def mixed(self) -> Flags:
        """Which workloads are of two."""
        return (self.shares > 0).sum(axis=1) > 1

    @property
    def other(self) -> Flags:
        """Which workloads are of none."""
        return self.shares.sum(axis=1) == 0

    @cached_property
    def fold(self) -> NDArray[np.int64]:
        """For each workload, in which of the parts it is: the same one always, whatever else is in the table."""
        return np.array([int(digest, 16) % FOLDS for digest in self.digests], dtype=np.int64)

    def only(self, workloads: Flags) -> Table:
        """The windows of some of the workloads."""
        places = np.flatnonzero(workloads)
        rows = np.isin(self.workload, places)
        return Table(
            vectors=self.vectors[rows],
            workload=np.searchsorted(places, self.workload[rows]),
            digests=tuple(self.digests[place] for place in places),
            variants=tuple(self.variants[place] for place in places),
            shares=self.shares[places],
        )

    def first(self, windows: int) -> Table:
        """No more than so many windows of each workload."""
        # Rows of a workload follow each other: how far each is behind the first one of its own.
        begins = np.searchsorted(self.workload, self.workload)
        rows = np.arange(len(self)) - begins < windows
        return replace(self, vectors=self.vectors[rows], workload=self.workload[rows])

    def of(self, workload: int) -> Floats:
        """The windows of one workload, in their order."""
        return self.vectors[self.workload == workload]

    def save(self, path: Path) -> None:
        """Writes a file that `load` reads."""
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                features=np.array(features.NAMES),
                kinds=np.array(KINDS),
                vectors=self.vectors.astype(np.float16),
                workload=self.workload.astype(np.uint16),
                digests=np.array(self.digests),
                variants=np.array(self.variants),
                shares=self.shares.astype(np.float32),
            )


def load(path: Path | None = None) -> Table:
    """The table in a file, or the one that comes with the package.

    Raises:
        ConfigError: It is of other features or kinds than this version's.
        OSError: It cannot be read.
    """
    content = files("lyredb.autotune").joinpath(_FILE).read_bytes() if path is None else path.read_bytes()
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays: dict[str, Any] = {name: file[name] for name in file.files}
    if tuple(arrays["features"].tolist()) != features.NAMES or tuple(arrays["kinds"].tolist()) != KINDS:
        raise ConfigError(
            f"the table {path or _FILE} is of other features or kinds than this version of LyreDB knows",
            suggestion="make it anew: lyredb autotune train",
        )
    shares = arrays["shares"].astype(np.float64).round(4)
    return Table(
        vectors=arrays["vectors"].astype(np.float64),
        workload=arrays["workload"].astype(np.int64),
        digests=tuple(arrays["digests"].tolist()),
        variants=tuple(arrays["variants"].tolist()),
        shares=shares,
    )
