"""DuckDB, the peer for scans into Arrow only: it is no key-value store."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import duckdb

from .base import Pair, Session, Store


class DuckDBStore(Store):
    name = "duckdb"
    title = "DuckDB"
    package = "duckdb"
    set_up = "a table of two BLOB columns, inserted in key order, all cores"

    def __init__(self, folder: Path, *, memory_bytes: int, durable: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._connection = duckdb.connect(str(folder / "records.duckdb"))
        self._connection.execute("CREATE TABLE IF NOT EXISTS records (key BLOB, value BLOB)")

    def session(self) -> Session:
        raise NotImplementedError("DuckDB is measured by its scan into Arrow alone")

    def write_batch(self, pairs: list[Pair]) -> None:
        import pyarrow

        keys, values = zip(*pairs, strict=True)
        columns = [pyarrow.array(keys, pyarrow.binary()), pyarrow.array(values, pyarrow.binary())]
        self._connection.register("loaded", pyarrow.table(columns, names=["key", "value"]))
        self._connection.execute("INSERT INTO records SELECT key, value FROM loaded")
        self._connection.unregister("loaded")

    def scan(self) -> AbstractContextManager[Iterable[Pair]]:
        rows = self._connection.sql("SELECT key, value FROM records").fetchall()
        return nullcontext(rows)

    def to_arrow(self) -> Any:
        return self._connection.sql("SELECT key, value FROM records").to_arrow_table()

    def settle(self) -> None:
        # LyreDB's table comes in key order; storing DuckDB's so asks no sort of it at each scan.
        self._connection.execute("CREATE OR REPLACE TABLE records AS SELECT key, value FROM records ORDER BY key")
        self._connection.execute("CHECKPOINT")

    def close(self) -> None:
        self._connection.close()
