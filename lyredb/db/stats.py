"""What `Database.stats` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from lyredb import _engine

Unit: TypeAlias = Literal["seconds", "rows"]


@dataclass(frozen=True)
class Bucket:
    """How many values were from `low` to `high`, both included."""

    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Histogram:
    """How often values of which size occurred.

    Buckets are an eighth of a power of two wide, so that a value is at most 6.25 % from the middle of its bucket.
    Counts only grow while a database is open: `later - earlier` is what happened between two readings.
    """

    unit: Unit
    total: float
    """Of all values together, in the unit."""
    buckets: tuple[Bucket, ...]
    """Those that hold something, lowest first."""

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(bucket.count for bucket in self.buckets)

    @property
    def mean(self) -> float | None:
        """The mean of all values, in the unit; None if there are none."""
        count = self.count
        return self.total / count if count else None

    def percentile(self, percent: float) -> float | None:
        """The value that so many percent of the values do not exceed, give or take 6.25 %; None if there are none.

        Raises:
            ValueError: `percent` is not between 0 and 100.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"percent must be from 0 to 100, not {percent!r}")
        wanted, seen = self.count * percent / 100, 0
        for bucket in self.buckets:
            seen += bucket.count
            if seen >= wanted:
                return (bucket.low + bucket.high) / 2
        return None

    def __sub__(self, earlier: Histogram) -> Histogram:
        """What was counted since `earlier`, a reading of the same histogram.

        Raises:
            ValueError: `earlier` has counted something that this reading has not.
        """
        if self.unit != earlier.unit:
            raise ValueError(f"{earlier.unit} cannot be subtracted from {self.unit}")
        counts = {(bucket.low, bucket.high): bucket.count for bucket in self.buckets}
        for bucket in earlier.buckets:
            bounds = (bucket.low, bucket.high)
            left = counts.pop(bounds, 0) - bucket.count
            if left < 0:
                raise ValueError("only an earlier reading of the same histogram can be subtracted")
            if left:
                counts[bounds] = left
        buckets = tuple(Bucket(low, high, count) for (low, high), count in sorted(counts.items()))
        return Histogram(self.unit, self.total - earlier.total, buckets)


@dataclass(frozen=True)
class Stats:
    """Counters since the database was opened, and sizes.

    Sizes are in bytes and times in seconds. Histograms of times are of samples for a family's operations: about one get
    in 256, one put or delete in 64, one batch or scan in 16. They are the time inside the engine, with the copying of
    the value. Operations that raise are in no histogram.
    """

    database: dict[str, int | float | str]
    """Memory, files, log, checkpoints and versions."""
    families: dict[str, dict[str, int | float | str]]
    """By family: operations, bytes, loads from disk, evictions, conflicts, and changes of the tree's shape."""
    database_histograms: dict[str, Histogram]
    """`log_sync` and `checkpoint`: how long each of them took."""
    family_histograms: dict[str, dict[str, Histogram]]
    """By family: the times `get`, `put`, `delete`, `batch` (a commit of several writes), `scan` (all its fetches) and
    `scan_row` (that by row); and `scan_length`, the rows that each scan fetched, sampled or not."""


def read_stats(engine: _engine.Engine) -> Stats:
    (figures, distributions), told = engine.stats()
    return Stats(
        database=figures,
        families={name: figures for name, (figures, _) in told.items()},
        database_histograms=_histograms(distributions),
        family_histograms={name: _histograms(distributions) for name, (_, distributions) in told.items()},
    )


def _histograms(distributions: dict[str, tuple[Unit, float, list[tuple[float, float, int]]]]) -> dict[str, Histogram]:
    return {
        name: Histogram(unit, total, tuple(Bucket(*bucket) for bucket in buckets))
        for name, (unit, total, buckets) in distributions.items()
    }
