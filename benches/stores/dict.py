"""A dict: keeps nothing on disk and in no order, and is the floor for what Python itself costs."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from .base import Pair, Session, Store


class DictSession(Session):
    def __init__(self, records: dict[bytes, bytes]) -> None:
        self.get = records.get
        self.put = records.__setitem__
        self.delete = records.__delitem__


class DictStore(Store):
    name = "dict"
    title = "dict"
    set_up = "the floor: in memory, unordered, one thread at a time"
    volatile = True

    @classmethod
    def version(cls) -> str:
        return platform.python_version()

    def __init__(self, folder: Path, *, memory_bytes: int, durable: bool = False) -> None:
        if durable:
            raise ValueError("a dict is not durable")
        self._records: dict[bytes, bytes] = {}

    def session(self) -> Session:
        return DictSession(self._records)

    def write_batch(self, pairs: list[Pair]) -> None:
        self._records.update(pairs)

    def scan(self) -> AbstractContextManager[Iterable[Pair]]:
        return nullcontext(self._records.items())

    def close(self) -> None:
        self._records.clear()
