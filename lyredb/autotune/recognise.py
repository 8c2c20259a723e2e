"""What kind of work windows are of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lyredb import extras
from lyredb.autotune import table
from lyredb.autotune.features import NAMES, Vector
from lyredb.autotune.kinds import KINDS, UNKNOWN, Recognition
from lyredb.autotune.table import Floats, Table

_TREES = 40
_LEAST_WINDOWS_OF_A_LEAF = 3
_FEATURES_TRIED = 0.5
# More windows of a workload make the fit slower, and no better.
_WINDOWS_FITTED = 6
# What operations cost beside each other, about: those of one record, a batch and each of its records, a scan and each
# of its rows, when the rows are handed on in bulk and when each is an object.
_GET, _WRITE, _BATCH, _BATCH_RECORD, _SCAN = 1.0, 1.5, 2.0, 0.7, 3.0
_ROWS = (0.1, 0.3)
# Work is unknown that is more probably so, or is farther from every window of the table than all but this part of
# windows of workloads that it was not fitted on.
_UNKNOWN_SHARE = 0.5
_FARTHEST_QUANTILE = 0.995
# How many windows tell how far others are.
_PROBED = 600


class Recogniser:
    """Fitted when it is made, which takes about half a second.

    >>> from lyredb.autotune import recognise, table
    >>> recogniser = recognise.Recogniser()
    >>> known = table.load()
    >>> recogniser.recognise(known.of(known.kinds.index("olap"))).kind
    'olap'
    """

    def __init__(self, source: Table | None = None) -> None:
        """Imports scikit-learn and fits.

        Args:
            source: What to fit on; None: the table that comes with the package.

        Raises:
            ConfigError: scikit-learn is not installed.
        """
        source = table.load() if source is None else source
        self._mean = source.vectors.mean(axis=0)
        self._deviation = np.maximum(source.vectors.std(axis=0), 1e-3)
        self._known = self._standardised(source.vectors)
        self._model = self._fitted(source)
        self._farthest = self._probed(source)

    def recognise(self, vectors: Sequence[Vector] | Floats) -> Recognition:
        """What kind of work some windows are of, one after the other and all of the same work: the more, the surer.

        Raises:
            ValueError: There is none.
        """
        return self.recognise_each([vectors])[0]

    def recognise_each(self, groups: Sequence[Sequence[Vector] | Floats]) -> list[Recognition]:
        """The same of many groups of windows, each of one work: it takes hardly longer than for one.

        Raises:
            ValueError: There is none in some group.
        """
        if not all(len(vectors) for vectors in groups):
            raise ValueError("nothing can be recognised by no window")
        if not groups:
            return []
        rows = np.vstack([np.asarray(vectors, dtype=np.float64) for vectors in groups])
        classes: Floats = self._model.predict_proba(evidence(rows))
        distances = _nearest(self._standardised(rows), self._known)
        ends = np.cumsum([len(vectors) for vectors in groups]).tolist()
        parts = [slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]
        return [self._recognition(classes[part].mean(axis=0), float(np.median(distances[part]))) for part in parts]

    def _recognition(self, classes: Floats, distance: float) -> Recognition:
        kinds = classes[: len(KINDS)] + 1e-9
        strange = classes[-1] > _UNKNOWN_SHARE or distance > self._farthest
        shares = kinds / kinds.sum()
        return Recognition(
            kind=UNKNOWN if strange else KINDS[int(kinds.argmax())],
            probabilities={kind: float(share) for kind, share in zip(KINDS, shares, strict=True)},
        )

    def _standardised(self, rows: Floats) -> Floats:
        return (rows - self._mean) / self._deviation

    def _fitted(self, source: Table) -> Any:
        ensemble = extras.required("sklearn.ensemble", extra="autotune")
        source = source.first(_WINDOWS_FITTED)
        # A window of mixed work is there once for each of its kinds, as heavy as that one's share.
        shares = source.classes[source.workload]
        places, classes = np.nonzero(shares > 0)
        weights = shares[places, classes]
        model = ensemble.ExtraTreesClassifier(
            _TREES, min_samples_leaf=_LEAST_WINDOWS_OF_A_LEAF, max_features=_FEATURES_TRIED, random_state=0, n_jobs=1
        )
        return model.fit(evidence(source.vectors)[places], classes, sample_weight=weights)

    def _probed(self, source: Table) -> float:
        """How far a window of a workload that was not fitted on is from the table, if it is of a known kind."""
        known = np.flatnonzero(~source.other[source.workload])
        probes = known[:: max(1, len(known) // _PROBED)]
        nearest = _nearest(self._known[probes], self._known, source.workload[probes], source.workload)
        return float(np.quantile(nearest, _FARTHEST_QUANTILE))


def evidence(vectors: Floats) -> Floats:
    """Vectors, and beside them on what the time went, about: mixed work is a matter of time, not of operations.

    A report of 100,000 rows is one operation, and so is a read of a key.
    """
    of = {name: vectors[:, place] for place, name in enumerate(NAMES)}
    gets = _GET * of["get_share"]
    writes = _WRITE * (of["put_share"] + of["delete_share"])
    batches = of["batch_share"] * (_BATCH + _BATCH_RECORD * (np.exp2(of["batch_records"]) - 1.0))
    scans = _SCAN * of["scan_share"]
    rows = of["scan_share"] * (np.exp2(of["scan_rows"]) - 1.0)
    columns: list[Any] = [vectors]
    for row in _ROWS:
        took = np.column_stack([gets, writes, batches, scans, row * rows])
        took /= np.maximum(took.sum(axis=1, keepdims=True), 1e-9)
        written, scanned = took[:, 1] + took[:, 2], took[:, 3] + took[:, 4]
        columns.append(took)
        # What tells one kind of gets, writes and scans from another, of all the time.
        columns.append(
            np.column_stack(
                [
                    took[:, 0] * of["dependent_reads"],
                    took[:, 0] * of["absent_share"],
                    scanned * of["dependent_scans"],
                    written * of["expiring_share"],
                    written * of["append_share"],
                    written * of["overwrite_share"],
                ]
            )
        )
    return np.hstack(columns)


def _nearest(rows: Floats, known: Floats, groups: Any = None, known_groups: Any = None) -> Floats:
    """The distance of each row to the nearest known one; of another group, if groups are given."""
    # (a - b)^2 = a^2 + b^2 - 2ab: the last is a product of matrices, which is quick.
    own: Floats = np.square(rows).sum(axis=1)
    others: Floats = np.square(known).sum(axis=1)
    squares: Floats = own[:, None] + others[None, :] - 2.0 * np.inner(rows, known)
    if groups is not None:
        squares[groups[:, None] == known_groups[None, :]] = np.inf
    return np.sqrt(np.maximum(np.min(squares, axis=1), 0.0))
