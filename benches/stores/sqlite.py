"""SQLite through the standard library."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

from .base import Pair, Session, Store

_GET = "SELECT value FROM records WHERE key = ?"
_PUT = "INSERT INTO records VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_DELETE = "DELETE FROM records WHERE key = ?"
_SCAN = "SELECT key, value FROM records ORDER BY key"
_SCAN_FROM = "SELECT key, value FROM records WHERE key >= ? ORDER BY key LIMIT ?"
CREATE = "CREATE TABLE IF NOT EXISTS records (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID"


def _connect(path: Path, memory_bytes: int, durable: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=60, check_same_thread=False, cached_statements=256)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
    connection.execute(f"PRAGMA cache_size = {-(memory_bytes >> 10)}")
    connection.execute(f"PRAGMA mmap_size = {memory_bytes}")
    return connection


class SQLiteSession(Session):
    """A connection of its own, as SQLite advises for threads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._execute = execute = connection.execute

        def get(key: bytes) -> Any:
            row = execute(_GET, (key,)).fetchone()
            return None if row is None else row[0]

        def put(key: bytes, value: bytes) -> None:
            execute(_PUT, (key, value))

        def delete(key: bytes) -> None:
            execute(_DELETE, (key,))

        self.get = get
        self.put = put
        self.delete = delete

    def multi_get(self, keys: list[bytes]) -> Sequence[Any]:
        places = ",".join("?" * len(keys))
        rows = self._execute(f"SELECT key, value FROM records WHERE key IN ({places})", keys)
        return list(map(dict(rows.fetchall()).get, keys))

    def scan_from(self, start: bytes, count: int) -> Sequence[Pair]:
        return self._execute(_SCAN_FROM, (start, count)).fetchall()

    def close(self) -> None:
        self._connection.close()


class SQLiteStore(Store):
    name = "sqlite"
    title = "SQLite"
    set_up = (
        "a table WITHOUT ROWID, write-ahead log, cache and memory map for all records, a "
        "connection a thread; `synchronous` is OFF where writes do not wait for the disk, else FULL"
    )

    @classmethod
    def version(cls) -> str:
        return sqlite3.sqlite_version

    def __init__(self, folder: Path, *, memory_bytes: int, durable: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._open = (folder / "records.sqlite", memory_bytes, durable)
        self._connection = _connect(*self._open)
        self._connection.execute(CREATE)

    def session(self) -> Session:
        return SQLiteSession(_connect(*self._open))

    def write_batch(self, pairs: list[Pair]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(_PUT, pairs)
        self._connection.execute("COMMIT")

    def scan(self) -> AbstractContextManager[Iterable[Pair]]:
        return closing(self._connection.execute(_SCAN))

    def settle(self) -> None:
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self._connection.close()
