"""What a workload is, and the clock they all share."""

from __future__ import annotations

import gc
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

from ..data import Data
from ..files import copy_folder, occupied_bytes
from ..settings import Settings
from ..stores.base import Session, Store

Unit = Literal["ns", "per second", "seconds", "bytes a record", "share"]
Chunk = TypeVar("Chunk", bound=Sized)

KEY_VALUE_STORES = frozenset({"lyredb", "lmdb", "lmdb_writemap", "rocksdb", "leveldb", "sqlite", "dict"})


@dataclass(frozen=True)
class Measure:
    """One figure of a workload. All but rates are better when smaller."""

    name: str
    title: str
    unit: Unit

    @property
    def more_is_better(self) -> bool:
        return self.unit == "per second"


@dataclass(frozen=True)
class Timed:
    operations: int
    seconds: float

    @property
    def ns(self) -> float:
        return 1e9 * self.seconds / self.operations

    @property
    def per_second(self) -> float:
        return self.operations / self.seconds


@dataclass(frozen=True)
class Result:
    """Figures by the name of their measure, and what they were computed from."""

    figures: dict[str, float]
    operations: int
    seconds: float


@dataclass(frozen=True)
class Context:
    """What a measuring process works with."""

    store: type[Store]
    settings: Settings
    data: Data
    prepared: Path
    scratch: Path

    def _open(self, folder: Path, durable: bool) -> Store:
        return self.store(folder, memory_bytes=self.settings.memory_bytes, durable=durable)

    @contextmanager
    def empty(self) -> Iterator[Store]:
        folder = self.scratch / "empty"
        store = self._open(folder, durable=False)
        try:
            yield store
        finally:
            store.close()
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def loaded(self) -> Iterator[Store]:
        """The prepared records, to be read only."""
        store = self._open(self.prepared, durable=False)
        try:
            self._fill(store)
            yield store
        finally:
            store.close()

    @contextmanager
    def copied(self, *, durable: bool = False) -> Iterator[Store]:
        """A copy of the prepared records, to be changed."""
        folder = self.scratch / "copy"
        if self.prepared.exists():
            copy_folder(self.prepared, folder)
        store = self._open(folder, durable=durable)
        try:
            self._fill(store)
            yield store
        finally:
            store.close()
            shutil.rmtree(folder, ignore_errors=True)

    def _fill(self, store: Store) -> None:
        # A store that keeps nothing on disk is loaded by the measuring process itself.
        if self.store.volatile:
            for batch in self.data.batches():
                store.write_batch(batch)

    def check(self, store: Store) -> None:
        """Figures of a store that does not hold the records would mean nothing."""
        session = store.session()
        last = self.data.records - 1
        indices = self.data.uniform(8, pattern=99)
        for index in [0, last, *indices.tolist()]:
            (pair,) = self.data.pairs(index, index + 1)
            if session.get(pair[0]) != pair[1]:
                raise AssertionError(f"{self.store.name} lacks record {index}")
        if session.get(self.data.absent_keys(1)[0]) is not None:
            raise AssertionError(f"{self.store.name} answers for an absent key")
        session.close()

    def ready(self, store: Store) -> Session:
        """A session with a store that was checked, and whose caches are full."""
        self.check(store)
        session = store.session()
        self._warm(store, session)
        return session

    def _warm(self, store: Store, session: Session) -> None:
        """Untimed: read everything once, then a few records by key, so that caches are full."""
        with store.scan() as pairs:
            count = sum(1 for _pair in pairs)
        if count != self.data.records:
            raise AssertionError(f"{self.store.name} holds {count} of {self.data.records} records")
        get = session.get
        for key in self.data.keys(self.data.uniform(20_000, pattern=98)):
            get(key)


def timed(chunks: Iterable[Chunk], body: Callable[[Chunk], object], limit_seconds: float) -> Timed:
    """Call `body` with chunk after chunk until they end or the time is up.

    The clock is read once a chunk; nothing is subtracted for the loop. What was made before is
    frozen out of garbage collection, or a collection in the loop would walk millions of keys.
    """
    gc.collect()
    gc.freeze()
    operations = 0
    start = now = time.perf_counter()
    deadline = start + limit_seconds
    for chunk in chunks:
        body(chunk)
        operations += len(chunk)
        now = time.perf_counter()
        if now > deadline:
            break
    return Timed(operations, now - start)


def size_file(context: Context) -> Path:
    """Where the size of the prepared folder is noted."""
    return context.prepared.with_name(f"{context.prepared.name}.bytes")


def load_folder(context: Context) -> None:
    """All records in random order, then the store's own settling and a clean close."""
    store = context.store(context.prepared, memory_bytes=context.settings.memory_bytes)
    try:
        for batch in context.data.batches():
            store.write_batch(batch)
        store.settle()
    finally:
        store.close()
    # Noted at once: each later opening leaves files of its own, such as RocksDB's logs.
    size_file(context).write_text(str(occupied_bytes(context.prepared)), encoding="ascii")


class Workload(ABC):
    """One line of the table, or more. Instances hold no state: each measurement is a process."""

    name: ClassVar[str]
    title: ClassVar[str]
    measures: ClassVar[tuple[Measure, ...]]
    stores: ClassVar[frozenset[str]] = KEY_VALUE_STORES
    # Whether the store's folder must be loaded before the first round.
    prepared: ClassVar[bool] = True

    def records(self, settings: Settings) -> int:
        """The records in the prepared folder."""
        return settings.records

    @abstractmethod
    def run(self, context: Context) -> Result: ...
