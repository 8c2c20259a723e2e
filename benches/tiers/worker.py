"""One measurement in a process of its own: a JSON request on stdin, a JSON answer on stdout."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..files import copy_folder, occupied_bytes
from ..stores.base import Store
from . import page_cache
from .data import Pair, Records
from .settings import Settings
from .stores import MAPPED, load
from .warden import Warden, resident
from .works import WORKS, Context, frozen

PREPARE = "prepare"
# For loading, which is no measurement.
LOADING_BYTES = 1 << 30
SAMPLED = 8


@dataclass(frozen=True)
class Request:
    """Measure `work`, or with `PREPARE` load its records into their folder."""

    work: str
    store: str
    task: str
    data: str
    scratch: str
    settings: dict[str, Any]


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


def answer(request: Request) -> dict[str, Any]:
    began = time.perf_counter()
    work = WORKS[request.work]
    settings = work.settings(Settings(**request.settings))
    records = work.records(settings)
    kind = load(request.store)
    if request.store == "lyredb":
        kind.settings = settings.lyredb
    prepared, scratch = folder_of(Path(request.data), request.store, records), Path(request.scratch)
    if request.task == PREPARE:
        prepare(kind, prepared, records)
        return {"process_seconds": time.perf_counter() - began}
    wardens: list[Warden] = []
    opened_at: list[int] = []
    # Made before a store is opened, whose memory they must not be taken for.
    present = [records.pair(records.count * part // SAMPLED) for part in range(SAMPLED)] if work.prepared else []
    absent = records.absent_keys([0])[0]

    @contextmanager
    def opened(*, copy: bool = False, empty: bool = False, memory_bytes: int | None = None) -> Iterator[Store]:
        folder = prepared
        if copy or empty:
            folder = scratch / ("copy" if copy else "empty")
            folder.mkdir(parents=True)
        if copy:
            folder.rmdir()
            copy_folder(prepared, folder)
        page_cache.drop(folder)
        memory = settings.memory_bytes if memory_bytes is None else memory_bytes
        mapped = request.store in MAPPED
        with ExitStack() as stack:
            if memory_bytes is None:
                page_cache_bytes = memory if mapped else settings.page_cache_bytes
                warden = Warden(folder, page_cache_bytes, mapped=mapped)
                stack.callback(warden.close)
                wardens.append(warden)
            opened_at.append(resident(os.getpid())[0])
            store = kind(folder, memory_bytes=memory)
            stack.callback(store.close)
            if not empty:
                check(store, present, absent)
            if mapped:
                wardens[-1].follow(folder / "data.mdb")
                stack.callback(wardens[-1].unfollow)
            with frozen():
                yield store

    context = Context(
        store=request.store,
        settings=settings,
        records=records,
        opened=opened,
        noting=lambda: wardens[-1].noting() if wardens else nullcontext({}),
    )
    outcome = work.run(context)
    return {
        **asdict(outcome),
        "evidence": outcome.evidence | {"process_before": opened_at[0], "memory_bytes": settings.memory_bytes},
        "process_seconds": time.perf_counter() - began,
    }


def main() -> None:
    # A store that prints must not spoil the answer.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = Request(**json.load(sys.stdin))
    json.dump(answer(request), channel)
    channel.close()


if __name__ == "__main__":
    main()
