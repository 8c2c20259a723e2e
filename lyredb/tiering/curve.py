"""Miss-ratio curves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lyredb import _engine
from lyredb.tiering.columns import integers

if TYPE_CHECKING:
    from lyredb.tiering.columns import Integers


class MissRatioCurve:
    """How often a least-recently-used cache would miss, at every size, from a sample of what is asked for.

    Waldspurger, Park, Garthwaite and Ahmad, "Efficient MRC Construction with SHARDS", FAST '15, with a fixed number of
    samples and the paper's correction for accesses that the sample has too many or too few of (SHARDS-adj).

    It holds at most `most_samples` identities, about 100 bytes each, whatever the trace. On the average over all sizes
    8,192 tell the curve to 0.01; where it falls steeply, they tell at which size it does to a few percent.

    Args:
        most_samples: identities that are followed at most; with as many as there are the curve is exact.
        rate: the part of the identities to begin with, above 0 and at most 1. It falls as `most_samples` demands.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(self, *, most_samples: int = 8192, rate: float = 1.0) -> None:
        self._curve = _engine.MissRatioCurve(most_samples=most_samples, rate=rate)

    def access(self, identities: Integers | Iterable[int], sizes: Integers | Iterable[int] | None = None) -> None:
        """Count accesses, in their order; of each O(log `most_samples`).

        Args:
            identities: what was asked for: a numpy array, or another buffer, of integers of 64 bits, read as it is; or
                any integers from 0 to 2**64 - 1.
            sizes: bytes of each, 1 to 2**32 - 1; 1 each without.

        Raises:
            ValueError: a size is out of range, there are not as many sizes as identities, or a buffer is of
                something else.
        """
        self._curve.access(integers(identities), None if sizes is None else integers(sizes))

    def decay(self, factor: float) -> None:
        """Let what is known weigh `factor` (0 to 1) of what it did, so that the curve follows work that changes.

        Raises:
            ValueError: the factor is out of range.
        """
        self._curve.decay(factor)

    def miss_ratio(self, size: int) -> float:
        """The part of the accesses, 0 to 1, that a cache of `size` bytes would miss; 1 before the first access."""
        return self._curve.miss_ratio(size)

    def points(self) -> list[tuple[int, float]]:
        """Sizes in bytes, rising from 0, and the miss ratio at each: all sizes where it falls, to 1 %."""
        return self._curve.points()

    @property
    def accesses(self) -> float:
        """Accesses that were counted, as `decay` left them."""
        return self._curve.accesses

    @property
    def rate(self) -> float:
        """The part of the identities that is followed now."""
        return self._curve.rate

    @property
    def samples(self) -> int:
        """Identities that are followed now."""
        return self._curve.samples
