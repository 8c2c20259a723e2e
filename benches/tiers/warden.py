"""A process beside the measuring one, that holds the page cache of a store's files to a size and notes what memory is
in use.

What a store read past its own cache is dropped as soon as it is more than the allowance. Where the page cache is the
store's cache, a clock decides what goes: its hand goes round the file, drops what was not mapped again since the last
time, and takes the rest out of the page table, so that only what is touched until the next time is mapped again. The
kernel does much the same when memory is short.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from .page_cache import PAGE_BYTES, Mapping, cached_bytes, let_go

TICK_SECONDS = 0.004
# Counting what a whole cache keeps takes longer, and a millisecond's reads are little of it.
CLOCK_TICK_SECONDS = 0.016
SAMPLE_SECONDS = 0.02
LOOK_SECONDS = 0.1
CHUNKS = 512


@dataclass
class Memory:
    """Over the time measured: of the process its resident bytes, apart from pages of files; of the store's files what
    the page cache kept."""

    process_mean: float = 0.0
    process_peak: int = 0
    cached_mean: float = 0.0
    cached_peak: int = 0
    resident_peak: int = 0
    samples: int = 0
    warden_seconds: float = 0.0

    def take(self, process: int, resident: int, cached: int) -> None:
        self.samples += 1
        self.process_mean += (process - self.process_mean) / self.samples
        self.cached_mean += (cached - self.cached_mean) / self.samples
        self.process_peak = max(self.process_peak, process)
        self.cached_peak = max(self.cached_peak, cached)
        self.resident_peak = max(self.resident_peak, resident)


def resident(pid: int) -> tuple[int, int]:
    """Bytes of a process in memory that no file stands behind, and all."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines())
    kilobytes = {name: int(text.split()[0]) for name, text in fields.items() if name.startswith(("Rss", "VmRSS"))}
    return (kilobytes["RssAnon"] + kilobytes["RssShmem"]) * 1024, kilobytes["VmRSS"] * 1024


class _Files:
    """The files of a folder, kept open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[tuple[int, int], int] = {}

    def look(self) -> None:
        """Find new files, let go of deleted ones."""
        for key, descriptor in list(self._open.items()):
            if os.fstat(descriptor).st_nlink == 0:
                os.close(self._open.pop(key))
        for path in self._folder.rglob("*"):
            try:
                status = path.stat()
                key = (status.st_dev, status.st_ino)
                if path.is_file() and key not in self._open:
                    self._open[key] = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                continue  # deleted since it was listed

    def __iter__(self) -> Iterator[int]:
        return iter(self._open.values())

    def cached(self) -> int:
        return sum(map(cached_bytes, self))


class _Clock:
    """The hand that goes round a mapped file."""

    def __init__(self, unmap: Connection) -> None:
        self._unmap = unmap
        self._place = 0

    def turn(self, files: _Files, excess: int) -> None:
        sizes = {descriptor: os.fstat(descriptor).st_size for descriptor in files}
        descriptor = max(sizes, key=lambda key: sizes[key])
        size = sizes[descriptor]
        chunk = -(-size // CHUNKS // PAGE_BYTES) * PAGE_BYTES or PAGE_BYTES
        first = self._place
        for _ in range(CHUNKS):
            if excess <= 0:
                break
            before = cached_bytes(descriptor, self._place, chunk)
            let_go(descriptor, self._place, chunk)
            excess -= before - cached_bytes(descriptor, self._place, chunk)
            self._place += chunk
            if self._place >= size:
                self._unmap.send((first, size - first))
                self._place = first = 0
        if self._place > first:
            self._unmap.send((first, self._place - first))


def _hold(files: _Files, clock: _Clock | None, excess: int) -> None:
    if clock is not None:
        clock.turn(files, excess)
        return
    for descriptor in files:
        let_go(descriptor)


def _watch(folder: Path, pid: int, orders: Connection, unmap: Connection | None) -> None:
    os.nice(-5 if os.geteuid() == 0 else 0)
    files, memory, limit = _Files(folder), Memory(), 0
    clock = None if unmap is None else _Clock(unmap)
    tick = TICK_SECONDS if clock is None else CLOCK_TICK_SECONDS
    looked = sampled = began = 0.0
    resting = False
    while True:
        if orders.poll(None if resting else tick):
            order, argument = orders.recv()
            if order == "stop":
                return
            if order == "rest":
                resting = argument
            elif order == "limit":
                limit = argument
            elif order == "begin":
                memory, began = Memory(), time.process_time()
            elif order == "end":
                memory.warden_seconds = time.process_time() - began
                orders.send(asdict(memory))
        if resting:
            continue
        now = time.monotonic()
        if now - looked > LOOK_SECONDS:
            files.look()
            looked = now
        cached = files.cached()
        if now - sampled > SAMPLE_SECONDS:
            memory.take(*resident(pid), cached)
            sampled = now
        if cached > limit:
            _hold(files, clock, cached - limit)


class Warden:
    """The measuring process's side of it."""

    def __init__(self, folder: Path, limit: int, *, mapped: bool) -> None:
        context = multiprocessing.get_context("fork")
        self._orders, orders = context.Pipe()
        self._parts, unmap = context.Pipe(duplex=False) if mapped else (None, None)
        self._following = threading.Lock()
        self._mapping: Mapping | None = None
        self._process = context.Process(target=_watch, args=(folder, os.getpid(), orders, unmap), daemon=True)
        self._process.start()
        self._orders.send(("limit", limit))

    def follow(self, path: Path) -> None:
        """For a mapped store, once it is open: take out of the page table what the clock says."""
        parts = self._parts
        assert parts is not None
        mapping = self._mapping = Mapping(path)

        def serve() -> None:
            while True:
                try:
                    offset, length = parts.recv()
                except EOFError:  # the warden has ended
                    return
                with self._following:
                    if self._mapping is None:
                        return
                    mapping.unmap(offset, length)

        threading.Thread(target=serve, daemon=True).start()

    def unfollow(self) -> None:
        """Before the store is closed: what lies at its addresses afterwards is not its map."""
        with self._following:
            self._mapping = None

    @contextmanager
    def noting(self) -> Iterator[dict[str, Any]]:
        """A dictionary that holds what memory was in use within the context, once that is left."""
        found: dict[str, Any] = {}
        self._orders.send(("begin", None))
        yield found
        self._orders.send(("end", None))
        found.update(self._orders.recv())

    def rest(self, resting: bool) -> None:
        """While the store does nothing there is nothing to hold."""
        self._orders.send(("rest", resting))

    def close(self) -> None:
        self._orders.send(("stop", None))
        self._process.join()
