"""LMDB through py-lmdb, with and without a writeable map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import lmdb

from .base import Pair, Session, Store


class LMDBSession(Session):
    """Reads go through one read transaction, renewed after a write of the session's own: that
    costs LMDB one `begin` a write instead of one a read."""

    def __init__(self, environment: Any) -> None:
        self._begin = environment.begin
        self._transaction: Any = None
        self.get = self._first_get

    def _open(self) -> Any:
        self._transaction = self._begin()
        self.get = self._transaction.get
        return self._transaction

    def _first_get(self, key: bytes) -> Any:
        return (self._transaction or self._open()).get(key)

    def put(self, key: bytes, value: bytes) -> None:
        reading = self._transaction is not None
        self.close()
        with self._begin(write=True) as transaction:
            transaction.put(key, value)
        if reading:
            self._open()

    def delete(self, key: bytes) -> None:
        reading = self._transaction is not None
        self.close()
        with self._begin(write=True) as transaction:
            transaction.delete(key)
        if reading:
            self._open()

    def multi_get(self, keys: list[bytes]) -> Sequence[Any]:
        return list(map((self._transaction or self._open()).get, keys))

    def scan_from(self, start: bytes, count: int) -> Sequence[Pair]:
        with (self._transaction or self._open()).cursor() as cursor:
            return list(islice(cursor.iternext(), count)) if cursor.set_range(start) else []

    def refresh(self) -> None:
        self.close()
        self._open()

    def close(self) -> None:
        if self._transaction is not None:
            self._transaction.abort()
            self._transaction = None
            self.get = self._first_get


class LMDBStore(Store):
    name = "lmdb"
    title = "LMDB"
    package = "lmdb"
    set_up = (
        "gets inside one read transaction; batches by `putmulti`, sorted ones with `append`; "
        "`sync=False` where writes do not wait for the disk; the memory map is its cache"
    )
    writemap: ClassVar[bool] = False

    def __init__(self, folder: Path, *, memory_bytes: int, durable: bool = False) -> None:
        self._environment = lmdb.open(
            str(folder),
            map_size=4 * memory_bytes,
            sync=durable,
            writemap=self.writemap,
            map_async=self.writemap and not durable,
        )

    def session(self) -> Session:
        return LMDBSession(self._environment)

    def write_batch(self, pairs: list[Pair]) -> None:
        with self._environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(pairs)

    def write_sorted_batch(self, pairs: list[Pair]) -> None:
        with self._environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(pairs, append=True)

    @contextmanager
    def scan(self) -> Iterator[Iterable[Pair]]:
        with self._environment.begin() as transaction, transaction.cursor() as cursor:
            yield cursor.iternext()

    def settle(self) -> None:
        self._environment.sync(True)

    def close(self) -> None:
        self._environment.sync(True)
        self._environment.close()


class LMDBWritemapStore(LMDBStore):
    name = "lmdb_writemap"
    title = "LMDB (writemap)"
    set_up = "as LMDB, with `writemap`, and `map_async` where writes do not wait for the disk"
    writemap = True
