"""LyreDB, through its Python face alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import lyredb

from .base import Pair, Session, Store


class LyreDBSession(Session):
    def __init__(self, database: lyredb.Database) -> None:
        self._scan = database.scan
        self.get = database.get
        self.put = database.put
        self.delete = database.delete
        self._multi_get = database.multi_get

    def multi_get(self, keys: list[bytes]) -> Sequence[Any]:
        return self._multi_get(keys)

    def scan_from(self, start: bytes, count: int) -> Sequence[Pair]:
        return list(self._scan(start, limit=count))


class LyreDBStore(Store):
    name = "lyredb"
    title = "LyreDB"
    package = "lyredb"
    set_up = (
        'defaults; `durability="async"` where writes do not wait for the disk, `"sync"` where they '
        "do; `memory_bytes` as large as the peers' caches"
    )

    @classmethod
    def version(cls) -> str:
        # The one being developed, which may be importable without being installed.
        return str(lyredb.__version__)

    def __init__(self, folder: Path, *, memory_bytes: int, durable: bool = False) -> None:
        self._database = lyredb.open(folder, durability="sync" if durable else "async", memory_bytes=memory_bytes)

    def session(self) -> Session:
        return LyreDBSession(self._database)

    def write_batch(self, pairs: list[Pair]) -> None:
        self._database.write_batch(pairs)

    def arrow_batches(self, keys: Any, values: Any, rows: int) -> list[Any]:
        import pyarrow

        return pyarrow.table({"key": keys, "value": values}).to_batches(max_chunksize=rows)

    def write_arrow_batch(self, batch: Any) -> None:
        self._database.write_batch(batch)

    def scan(self) -> AbstractContextManager[Iterable[Pair]]:
        return nullcontext(self._database.scan())

    def to_arrow(self) -> Any:
        return self._database.scan().to_arrow()

    def settle(self) -> None:
        self._database.compact()

    def close(self) -> None:
        self._database.close()
