"""What a store leaves on disk, and how soon it opens after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from ..settings import RECORD_BYTES, Settings
from .base import KEY_VALUE_STORES, Context, Measure, Result, Workload, size_file

WRITING_SECONDS = 1.0


class Size(Workload):
    """Of the prepared folder: loaded in random order, settled by the store's own means
    (compaction, checkpoint), closed. It is loaded once a run, so every round finds the same."""

    name = "size"
    title = "size on disk"
    measures = (Measure("size", "size", "bytes a record"),)
    stores = KEY_VALUE_STORES - {"dict"}

    def run(self, context: Context) -> Result:
        start = time.perf_counter()
        size = int(size_file(context).read_text(encoding="ascii"))
        records = context.data.records
        return Result({"size": size / records}, records, time.perf_counter() - start)


class Reopen(Workload):
    """A process writes on into the prepared gigabyte and is killed; another opens it and gets."""

    name = "reopen"
    title = "opening after a kill, with a first get"
    measures = (Measure("open", "open", "seconds"),)
    stores = frozenset({"lyredb"})

    def records(self, settings: Settings) -> int:
        return max(1_000, settings.reopen_bytes // RECORD_BYTES)

    def run(self, context: Context) -> Result:
        command = [sys.executable, "-m", "benches.endless_writer", context.store.name]
        command += [str(context.prepared), str(context.settings.memory_bytes), str(os.getpid())]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            try:
                if writer.stdout.readline().strip() != "writing":
                    raise RuntimeError("the process that was to be killed did not start writing")
                time.sleep(min(WRITING_SECONDS, context.settings.seconds))
            finally:
                writer.kill()
        if writer.returncode != -signal.SIGKILL:
            raise RuntimeError(f"the writer ended by itself: {writer.returncode}")
        ((key, value),) = context.data.pairs(0, 1)
        start = time.perf_counter()
        store = context.store(context.prepared, memory_bytes=context.settings.memory_bytes)
        found = store.session().get(key)
        seconds = time.perf_counter() - start
        if found != value:
            raise AssertionError(f"{store.name} lost a record to a kill")
        store.close()
        return Result({"open": seconds}, 1, seconds)
