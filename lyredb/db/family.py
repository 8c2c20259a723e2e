"""A family: one ordered map of a database."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from lyredb import _engine
from lyredb.db import columns
from lyredb.db.mapping import MutableSortedMapping

if TYPE_CHECKING:
    from lyredb.db.database import Database

K = TypeVar("K")
V = TypeVar("V")
R = TypeVar("R")


class Family(_engine.Family[K, V], MutableSortedMapping[K, V]):
    """An ordered map, in memory and on disk. Any number of threads may use one.

    `get`, `put`, `delete`, `[]`, `in` and `scan` are native methods; each call is atomic and sees the newest data. What
    reads first and writes then (`pop`, `popitem`, `setdefault`) runs in a small transaction.
    """

    __slots__ = ("__weakref__", "_database")

    _database: Database[Any, Any]

    def write_batch(self, items: Any, *, ttl: Any = None) -> None:
        """Stores many records in one atomic write; the last of equal keys wins.

        Args:
            items: A mapping; or an iterable of (key, value) pairs; or `(keys, values)`, a tuple of two Arrow or numpy
                columns; or an Arrow table or record batch of two columns. Columns whose type is the codec's own
                (binary, fixed-size binary or string; numpy `S`, `V`, 2-dimensional `uint8`; int64 under `"int"`) go
                down as buffers, without an object a row. Zero bytes at the end of numpy `S` items are padding, as in
                numpy.
            ttl: Seconds, or a timedelta, after which the records expire.

        Raises:
            TypeError, KeyTooLargeError, ValueTooLargeError: Some record cannot be stored; none is.
        """
        columns.write(self, items, ttl)

    def _atomically(self, work: Callable[[MutableSortedMapping[K, V]], R]) -> R:
        return self._database.retry(lambda transaction: work(transaction.bind(self)))

    def __repr__(self) -> str:
        return f"<lyredb.{type(self).__name__} {self._shown_name()} of {self._database.path!r}>"
