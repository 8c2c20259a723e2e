"""The stores as they are set up for data larger than memory: caches of the same size, and files read past the system's
cache where a store can."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, ClassVar

from ..stores import load as load_plain
from ..stores.base import Session, Store

# More than any data; address space alone.
MAP_BYTES = 1 << 40
PAGE_BYTES = 4 << 10


def _lyredb() -> type[Store]:
    import lyredb

    from ..stores.lyredb import LyreDBStore

    class TieredLyreDB(LyreDBStore):
        set_up = "`memory_bytes`, which counts all that it keeps; all else at its default; compacted after loading"
        settings: ClassVar[dict[str, Any]] = {}

        def __init__(self, folder: Path, *, memory_bytes: int, durable: bool = False) -> None:
            durability = "sync" if durable else "async"
            self._database = lyredb.open(folder, durability=durability, memory_bytes=memory_bytes, **self.settings)

        def counters(self) -> dict[str, float]:
            stats = self._database.stats()
            figures = {**stats.database, **stats.families["default"]}
            return {name: figure for name, figure in figures.items() if isinstance(figure, (int, float))}

    return TieredLyreDB


def _lmdb() -> type[Store]:
    import lmdb

    from ..stores.lmdb import LMDBStore

    class TieredLMDB(LMDBStore):
        set_up = (
            "`readahead=False`, as its manual advises for data larger than memory; gets inside one read transaction; "
            "`sync=False`; its cache is the system's, held to the size of the others'; loaded with `append`"
        )

        def __init__(self, folder: Path, *, memory_bytes: int, durable: bool = False) -> None:
            self._environment = lmdb.open(str(folder), map_size=MAP_BYTES, sync=durable, readahead=False)

    return TieredLMDB


def _rocksdb() -> type[Store]:
    import rocksdict

    from ..stores.rocksdb import RocksDBStore, table_options

    class TieredRocksDB(RocksDBStore):
        set_up = (
            "direct reads and writes; HyperClock block cache, smaller by what its index and filters take outside it; "
            "blocks of 4 KiB, bloom filter of 10 bits, LZ4 above and Zstandard at the bottom level; compacted"
        )

        def __init__(self, folder: Path, *, memory_bytes: int, durable: bool = False) -> None:
            self._open(folder, memory_bytes, durable)
            tables = int(self._database.property_value("rocksdb.estimate-table-readers-mem") or 0)
            if tables:
                self._database.close()
                self._open(folder, max(memory_bytes - tables, memory_bytes // 10), durable)

        def _open(self, folder: Path, memory_bytes: int, durable: bool) -> None:
            options = table_options(memory_bytes, block_bytes=PAGE_BYTES)
            options.set_use_direct_reads(True)
            options.set_use_direct_io_for_flush_and_compaction(True)
            options.set_write_buffer_size(max(memory_bytes // 16, 1 << 20))
            options.set_max_open_files(-1)
            families = {"default": options} if (folder / "CURRENT").exists() else None
            self._database = rocksdict.Rdict(str(folder), options=options, column_families=families)
            writing = rocksdict.WriteOptions()
            writing.sync = durable
            self._database.set_write_options(writing)

    return TieredRocksDB


def _sqlite() -> type[Store]:
    from ..stores import sqlite

    class TieredSQLite(sqlite.SQLiteStore):
        set_up = (
            "a table WITHOUT ROWID, write-ahead log, page cache (`cache_size`) of that size for the one connection "
            "that is used, no memory map; `synchronous` OFF"
        )

        def __init__(self, folder: Path, *, memory_bytes: int, durable: bool = False) -> None:
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                folder / "records.sqlite", isolation_level=None, check_same_thread=False, cached_statements=256
            )
            for pragma in (
                "journal_mode = WAL",
                f"synchronous = {'FULL' if durable else 'OFF'}",
                f"cache_size = {-(memory_bytes >> 10)}",
                "mmap_size = 0",
            ):
                self._connection.execute(f"PRAGMA {pragma}")
            self._connection.execute(sqlite.CREATE)

        def session(self) -> Session:
            # The one connection, for each has a cache of its own.
            return _KeptSession(self._connection)

    class _KeptSession(sqlite.SQLiteSession):
        def close(self) -> None:
            """The connection is the store's."""

    return TieredSQLite


_MAKERS = {"lyredb": _lyredb, "lmdb": _lmdb, "rocksdb": _rocksdb, "sqlite": _sqlite}
STORES = tuple(_MAKERS)
# Of these the system's cache is the cache.
MAPPED = frozenset({"lmdb"})


def load(name: str) -> type[Store]:
    """The class of a store.

    Raises:
        ImportError: the store is not installed.
    """
    load_plain(name)
    return _MAKERS[name]()
