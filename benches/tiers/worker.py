"""One measurement in a process of its own: a JSON request on stdin, a JSON answer on stdout."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..channel import channel
from ..files import copy_folder, occupied_bytes
from ..stores.base import Store
from . import page_cache
from .data import Pair, Records
from .settings import Settings
from .stores import MAPPED, load
from .turns import DONE, GO, READY, TURN_SECONDS
from .warden import Warden, resident
from .works import WORKS, Context, frozen

PREPARE = "prepare"
# For loading, which is no measurement.
LOADING_BYTES = 1 << 30
SAMPLED = 8


@dataclass(frozen=True)
class Request:
    """Measure `work`, or with `PREPARE` load its records into their folder. `in_turn`: work when told to."""

    work: str
    store: str
    task: str
    data: str
    scratch: str
    settings: dict[str, Any]
    in_turn: bool = False


def folder_of(data: Path, store: str, records: Records) -> Path:
    return data / f"{store}-{records.name}"


def loaded_mark(folder: Path) -> Path:
    """A file that says that a folder was loaded to the end, and its size."""
    return folder.with_name(f"{folder.name}.bytes")


def prepare(kind: type[Store], folder: Path, records: Records) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    store = kind(folder, memory_bytes=LOADING_BYTES)
    try:
        for batch in records.batches():
            store.write_sorted_batch(batch)
        store.settle()
    finally:
        store.close()
    page_cache.drop(folder)
    loaded_mark(folder).write_text(str(occupied_bytes(folder)), encoding="ascii")


def check(store: Store, present: list[Pair], absent: bytes) -> None:
    """Figures of a store that does not hold the records would mean nothing."""
    session = store.session()
    for key, value in present:
        if session.get(key) != value:
            raise AssertionError(f"the record of {key!r} is not there")
    if session.get(absent) is not None:
        raise AssertionError("an absent key is answered for")
    session.close()


class Bench:
    """Gives a work its stores, with their memory held, and its turns."""

    def __init__(self, request: Request, say: Callable[[str], None]) -> None:
        self.request = request
        self.say = say
        self.work = WORKS[request.work]
        self.settings = self.work.settings(Settings(**request.settings))
        self.records = self.work.records(self.settings)
        self.kind = load(request.store)
        if request.store == "lyredb":
            self.kind.settings = self.settings.lyredb
        self.prepared = folder_of(Path(request.data), request.store, self.records)
        self.warden: Warden | None = None
        self.process_before: int | None = None

    def _folder(self, copy: bool, empty: bool) -> Path:
        if not copy and not empty:
            return self.prepared
        scratch = Path(self.request.scratch)
        scratch.mkdir(parents=True, exist_ok=True)
        folder = scratch / ("copy" if copy else "empty")
        if copy:
            copy_folder(self.prepared, folder)
        else:
            folder.mkdir()
        return folder

    @contextmanager
    def opened(self, *, copy: bool = False, empty: bool = False, memory_bytes: int | None = None) -> Iterator[Store]:
        folder, records, mapped = self._folder(copy, empty), self.records, self.request.store in MAPPED
        page_cache.drop(folder)
        # Made before the store is opened, whose memory they must not be taken for.
        present = [] if empty else [records.pair(records.count * part // SAMPLED) for part in range(SAMPLED)]
        absent = records.absent_keys([0])[0]
        if self.process_before is None:
            self.process_before = resident(os.getpid())[0]
        with ExitStack() as stack:
            if memory_bytes is None:
                memory_bytes = self.settings.memory_bytes
                limit = memory_bytes if mapped else self.settings.page_cache_bytes
                self.warden = Warden(folder, limit, mapped=mapped)
                stack.callback(self.warden.close)
            store = self.kind(folder, memory_bytes=memory_bytes)
            stack.callback(store.close)
            check(store, present, absent)
            if mapped and self.warden is not None:
                self.warden.follow(folder / "data.mdb")
                stack.callback(self.warden.unfollow)
            with frozen():
                yield store

    def noting(self) -> AbstractContextManager[dict[str, Any]]:
        return nullcontext({}) if self.warden is None else self.warden.noting()

    def turns(self) -> Iterator[float]:
        if not self.request.in_turn or self.warden is None:
            yield self.settings.seconds
            return
        self.warden.rest(True)
        self.say(READY)
        while sys.stdin.readline().strip() == GO:
            self.warden.rest(False)
            yield min(TURN_SECONDS, self.settings.seconds)
            self.warden.rest(True)
            self.say(DONE)
        self.warden.rest(False)


def answer(request: Request, say: Callable[[str], None]) -> dict[str, Any]:
    began = time.perf_counter()
    bench = Bench(request, say)
    if request.task == PREPARE:
        prepare(bench.kind, bench.prepared, bench.records)
        return {"process_seconds": time.perf_counter() - began}
    outcome = bench.work.run(Context(bench.settings, bench.records, bench.opened, bench.noting, bench.turns))
    memory = {"process_before": bench.process_before, "memory_bytes": bench.settings.memory_bytes}
    return {
        **asdict(outcome),
        "evidence": outcome.evidence | memory,
        "process_seconds": time.perf_counter() - began,
    }


def main() -> None:
    with channel() as answers:
        request = Request(**json.loads(sys.stdin.readline()))

        def say(line: str) -> None:
            answers.write(f"{line}\n")
            answers.flush()

        say(json.dumps(answer(request, say)))


if __name__ == "__main__":
    main()
