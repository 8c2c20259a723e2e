"""What a window of time tells of the work of one family, as numbers that do not depend on how much of it there was.

>>> from lyredb.autotune import features
>>> earlier = {"gets_found": 100.0}
>>> later = {"gets_found": 180.0, "gets_absent": 20.0, "puts": 100.0}
>>> vector = features.vector(earlier, later)
>>> float(vector[features.NAMES.index("get_share")]), float(vector[features.NAMES.index("absent_share")])
(0.5, 0.2)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Reading: TypeAlias = Mapping[str, float]
"""One family's figures, as `_engine.Engine.sense` returns them. What is missing counts as zero."""
Vector: TypeAlias = NDArray[np.float64]
"""A number for each of `NAMES`; never a NaN."""


class Feature(NamedTuple):
    """One number of a vector."""

    name: str
    unit: str
    """"share" is a part of one, from 0 to 1; "log2 X" the logarithm of 1 + X."""
    high: float
    """The highest value; the lowest is 0."""
    meaning: str


def _share(name: str, meaning: str) -> Feature:
    return Feature(name, "share", 1.0, meaning)


def _log(name: str, of: str, meaning: str) -> Feature:
    return Feature(name, f"log2 {of}", 64.0, meaning)


FEATURES: tuple[Feature, ...] = (
    _share("get_share", "reads of single keys, of all operations: those, puts, deletes, batches and scans"),
    _share("put_share", "single puts, of all operations"),
    _share("delete_share", "single deletes, of all operations"),
    _share("batch_share", "batches, commits of transactions among them, of all operations"),
    _share("scan_share", "scans, of all operations"),
    _share("written_share", "records written, of those read by key, written and scanned"),
    _share("scanned_share", "records scanned, of the same"),
    _share("absent_share", "reads of keys that are not there, of all reads of single keys"),
    _share("conflict_share", "transactions that somebody else was faster than, of all writes"),
    _log("scan_rows", "rows", "rows a scan, on the average"),
    _share("scans_of_1", "scans of one row at most, of all scans"),
    _share("scans_of_16", "scans of 2 to 16 rows"),
    _share("scans_of_256", "scans of 17 to 256 rows"),
    _share("scans_of_4096", "scans of 257 to 4,096 rows"),
    _share("scans_of_more", "scans of more rows"),
    _log("batch_records", "records", "records a batch, on the average"),
    _log("read_bytes", "bytes", "bytes of what is read or scanned, by record"),
    _log("written_bytes", "bytes", "bytes of key and value of what is written, by record"),
    _share("append_share", "new keys behind all others, or all that begin alike, of all writes looked at"),
    _share("overwrite_share", "writes of keys that are there already, of all writes looked at"),
    _share("expiring_share", "records written with a time to live, of all records written"),
    _share("top_16_share", "point accesses to the 16 most popular keys: skew"),
    _share("top_128_share", "point accesses to the 128 most popular keys"),
    _share("distinct_share", "different keys among 256 point accesses"),
    _share("reuse_share", "sampled point accesses to keys that the thread's sample has already had in the window"),
    _log(
        "reuse_median",
        "operations",
        "operations of the thread between two sampled accesses to a key: the median; all, if none recurs",
    ),
    _log("reuse_ninth_decile", "operations", "the same, the ninth decile"),
    _share(
        "heat_entropy", "entropy of the places of point accesses over 64 parts of the family; 1 is everywhere alike"
    ),
    _share("heat_top_share", "point accesses to the hottest of the 64 parts"),
    _share("heat_end_share", "point accesses to the last of the 64 parts"),
    _share("dependent_reads", "reads of keys that stand in values just read, beyond chance, of the reads looked at"),
    _share("dependent_scans", "scans from keys that stand in rows just scanned, beyond chance, of the scans looked at"),
)
"""What a vector consists of, in its order."""
NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)

# A share of few cases is drawn towards nothing, as if so many more had said no.
_DOUBT = 2.0
_SCAN_BINS = ("scans_of_1", "scans_of_16", "scans_of_256", "scans_of_4096", "scans_of_more")


class _Window:
    """The figures of the time between two readings."""

    def __init__(self, earlier: Reading, later: Reading) -> None:
        self._earlier, self._later = earlier, later

    def counted(self, *names: str) -> float:
        """How much counters grew together; of a family that was made anew in between, nothing."""
        grown = (self._later.get(name, 0.0) - self._earlier.get(name, 0.0) for name in names)
        return sum(max(0.0, each) for each in grown)

    def seen(self, name: str) -> float:
        """A figure of the sketch, which is of the window alone."""
        return self._later.get(name, 0.0)

    @property
    def gets(self) -> float:
        return self.counted("gets_found", "gets_absent")

    @property
    def operations(self) -> float:
        return self.gets + self.counted("puts", "deletes", "batches", "scans")

    def dependent(self, kind: str) -> float:
        found = self.seen(f"{kind}_dependent") - self.seen(f"{kind}_by_chance")
        return max(0.0, found) / (self.seen(f"{kind}_asked") + _DOUBT)


def operations(earlier: Reading, later: Reading) -> float:
    """How many operations there were between two readings: gets, puts, deletes, batches and scans."""
    return _Window(earlier, later).operations


def vector(earlier: Reading, later: Reading) -> Vector:
    """The features of the work between two readings of one family.

    Args:
        earlier: The reading before; an empty one for the time since the database was opened.
        later: The next reading: its sketch is of the time since `earlier`.

    Returns:
        A number for each of `NAMES`, from 0 to its `high`. Where nothing happened it is 0.
    """
    window = _Window(earlier, later)
    counted, seen = window.counted, window.seen
    total, gets = window.operations, window.gets
    written = counted("puts", "deletes", "batch_records")
    scans, scanned = counted("scans"), counted("rows_scanned")
    records = gets + written + scanned
    by_bin = [counted(name) for name in _SCAN_BINS]
    values = {
        "get_share": _part(gets, total),
        "put_share": _part(counted("puts"), total),
        "delete_share": _part(counted("deletes"), total),
        "batch_share": _part(counted("batches"), total),
        "scan_share": _part(scans, total),
        "written_share": _part(written, records),
        "scanned_share": _part(scanned, records),
        "absent_share": _part(counted("gets_absent"), gets),
        "conflict_share": _part(counted("conflicts"), counted("puts", "deletes", "batches", "conflicts")),
        "scan_rows": _log_of(scanned, scans),
        **{name: _part(count, sum(by_bin)) for name, count in zip(_SCAN_BINS, by_bin, strict=True)},
        "batch_records": _log_of(counted("batch_records"), counted("batches")),
        "read_bytes": _log_of(counted("bytes_read"), counted("gets_found", "rows_scanned")),
        "written_bytes": _log_of(counted("bytes_written"), written),
        "append_share": _part(seen("appends_sampled"), seen("writes_sampled")),
        "overwrite_share": _part(seen("overwrites_sampled"), seen("writes_sampled")),
        "expiring_share": _part(counted("puts_expiring"), counted("puts", "batch_records")),
        "reuse_median": math.log2(1.0 + seen("reuse_median")),
        "reuse_ninth_decile": math.log2(1.0 + seen("reuse_ninth_decile")),
        "dependent_reads": window.dependent("reads"),
        "dependent_scans": window.dependent("scans"),
    }
    return np.array([min(values.get(name, seen(name)), high) for name, _, high, _ in FEATURES], dtype=np.float64)


def _part(part: float, whole: float) -> float:
    return min(1.0, part / whole) if whole > 0.0 else 0.0


def _log_of(total: float, count: float) -> float:
    return math.log2(1.0 + total / count) if count > 0.0 else 0.0
