"""The one interface behind which LyreDB and its peers stand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

Pair = tuple[bytes, bytes]


class Session(ABC):
    """One thread's handle on a store.

    `get`, `put` and `delete` are what a user of the store would call: native functions where the
    store has them. Loops bind them to a local name, and take `get` anew after a write or a
    `refresh`, because a store may answer from a read transaction which a write makes stale.
    """

    get: Callable[[bytes], Any]
    put: Callable[[bytes, bytes], Any]
    delete: Callable[[bytes], Any]

    def multi_get(self, keys: list[bytes]) -> Sequence[Any]:
        """The values in the order of the keys."""
        return list(map(self.get, keys))

    def scan_from(self, start: bytes, count: int) -> Sequence[Pair]:
        """Up to `count` pairs in key order from `start` on."""
        raise NotImplementedError(type(self).__name__)

    def refresh(self) -> None:  # noqa: B027 - most stores always read the newest
        """Let reads see everything committed by now."""

    def close(self) -> None:  # noqa: B027 - most sessions hold nothing
        """Let go of what the session holds; the store stays open."""


class Store(ABC):
    """A store in a folder, opened by its constructor.

    With `durable`, a write returns when it is on disk; without, it does not wait for the disk,
    and the store keeps the promises towards a crash that it makes in that mode.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    package: ClassVar[str | None] = None
    set_up: ClassVar[str]
    volatile: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, folder: Path, *, memory_bytes: int, durable: bool = False) -> None: ...

    @classmethod
    def version(cls) -> str:
        """The installed version.

        Raises:
            importlib.metadata.PackageNotFoundError: the store is not installed.
        """
        assert cls.package is not None
        return metadata.version(cls.package)

    @abstractmethod
    def session(self) -> Session: ...

    @abstractmethod
    def write_batch(self, pairs: list[Pair]) -> None:
        """Write the pairs in one commit."""

    def write_sorted_batch(self, pairs: list[Pair]) -> None:
        """Write pairs that are sorted and come after all that is stored."""
        self.write_batch(pairs)

    def arrow_batches(self, keys: Any, values: Any, rows: int) -> list[Any]:
        """What `write_arrow_batch` takes, from two Arrow columns."""
        keys, values = keys.to_pylist(), values.to_pylist()
        pairs = list(zip(keys, values, strict=True))
        return [pairs[start : start + rows] for start in range(0, len(pairs), rows)]

    def write_arrow_batch(self, batch: Any) -> None:
        """Write one of `arrow_batches`. A store that takes no columns is given pairs that were
        made before the clock started."""
        self.write_sorted_batch(batch)

    @abstractmethod
    def scan(self) -> AbstractContextManager[Iterable[Pair]]:
        """Every pair; in key order where the store has one. Leaving the context ends the read
        transaction or iterator, which would make later writes dearer."""

    def to_arrow(self) -> Any:
        """Every pair as an Arrow table."""
        raise NotImplementedError(type(self).__name__)

    def settle(self) -> None:  # noqa: B027 - a dict has nothing to settle
        """After loading: bring the data into the form the store reads best."""

    @abstractmethod
    def close(self) -> None: ...
