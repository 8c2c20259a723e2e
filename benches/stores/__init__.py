"""LyreDB and its peers by name. Each is imported only when asked for: a measuring process loads
one of them, and one that is not installed is reported as left out."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import PackageNotFoundError

from .base import Session, Store

__all__ = ["STORES", "Session", "Store", "availability", "installed", "load"]

# name -> (module in this folder, class). The order is that of the tables.
STORES: dict[str, tuple[str, str]] = {
    "lyredb": ("lyredb", "LyreDBStore"),
    "lmdb": ("lmdb", "LMDBStore"),
    "lmdb_writemap": ("lmdb", "LMDBWritemapStore"),
    "rocksdb": ("rocksdb", "RocksDBStore"),
    "leveldb": ("leveldb", "LevelDBStore"),
    "sqlite": ("sqlite", "SQLiteStore"),
    "duckdb": ("duckdb", "DuckDBStore"),
    "dict": ("dict", "DictStore"),
}


def load(name: str) -> type[Store]:
    """The class of a store.

    Raises:
        ImportError: the store is not installed.
    """
    module, attribute = STORES[name]
    store: type[Store] = getattr(import_module(f"{__name__}.{module}"), attribute)
    return store


def availability(name: str) -> tuple[type[Store], str] | str:
    """The store's class and version, or why it cannot be measured."""
    try:
        store = load(name)
        return store, store.version()
    except (ImportError, AttributeError, PackageNotFoundError) as error:
        return f"{type(error).__name__}: {error}"


def installed(names: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Of stores the versions, and of those that cannot be measured why, by name."""
    found = {name: availability(name) for name in names}
    left_out = {name: why for name, why in found.items() if isinstance(why, str)}
    return {name: each[1] for name, each in found.items() if name not in left_out}, left_out
