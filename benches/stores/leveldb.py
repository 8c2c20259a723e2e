"""LevelDB through plyvel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import plyvel

from .base import Pair, Session, Store

WRITE_BUFFER_BYTES = 64 << 20


class LevelDBSession(Session):
    def __init__(self, database: Any, durable: bool) -> None:
        self._iterator = database.iterator
        self.get = database.get
        self.put = partial(database.put, sync=True) if durable else database.put
        self.delete = partial(database.delete, sync=True) if durable else database.delete

    def scan_from(self, start: bytes, count: int) -> Sequence[Pair]:
        with self._iterator(start=start) as iterator:
            return list(islice(iterator, count))


class LevelDBStore(Store):
    name = "leveldb"
    title = "LevelDB"
    package = "plyvel"
    set_up = (
        "block cache for all records, bloom filter of 10 bits, write buffer of 64 MiB, Snappy; "
        "`sync` only where writes wait for the disk; compacted after loading"
    )

    def __init__(self, folder: Path, *, memory_bytes: int, durable: bool = False) -> None:
        self._durable = durable
        self._database = plyvel.DB(
            str(folder),
            create_if_missing=True,
            lru_cache_size=memory_bytes,
            bloom_filter_bits=10,
            write_buffer_size=WRITE_BUFFER_BYTES,
        )

    def session(self) -> Session:
        return LevelDBSession(self._database, self._durable)

    def write_batch(self, pairs: list[Pair]) -> None:
        with self._database.write_batch(sync=self._durable) as batch:
            put = batch.put
            for key, value in pairs:
                put(key, value)

    def scan(self) -> AbstractContextManager[Iterable[Pair]]:
        return closing(self._database.iterator())

    def settle(self) -> None:
        self._database.compact_range()

    def close(self) -> None:
        self._database.close()
