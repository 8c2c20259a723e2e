"""For each tunable of the engine a small piece of work in which it matters."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import lyredb

from .data import Data, slices
from .settings import BATCH_RECORDS
from .tiers import page_cache
from .waiting import wait_until
from .workloads.base import timed

Value = int | str
Figures = dict[str, float]

MIB = 1 << 20
CHUNK = 1_000
# For a checkpoint that is under way when the writing ends.
PAUSE = 0.5


@dataclass(frozen=True)
class Sizes:
    """Records of 16 + 100 bytes, operations of a timed loop, and the most seconds it takes."""

    records: int = 200_000
    operations: int = 200_000
    seconds: float = 1.0
    rounds: int = 3
    seed: int = 2013


QUICK = Sizes(records=20_000, operations=10_000, seconds=0.1, rounds=1)


def load(db: Any, data: Data) -> None:
    """All records in random order, as a database that has grown."""
    for batch in data.batches():
        db.write_batch(batch)


def rate(call: Callable[[Any], object], items: list[Any], sizes: Sizes) -> float:
    """Calls a second."""

    def body(chunk: list[Any]) -> None:
        for item in chunk:
            call(item)

    return timed(slices(items, CHUNK), body, sizes.seconds).per_second


def put_rate(db: Any, pairs: list[tuple[bytes, bytes]], sizes: Sizes) -> float:
    put = db.put

    def body(chunk: list[tuple[bytes, bytes]]) -> None:
        for key, value in chunk:
            put(key, value)

    return timed(slices(pairs, CHUNK), body, sizes.seconds).per_second


def rows_a_second(scan: Any) -> float:
    start = time.perf_counter()
    rows = sum(1 for _row in scan)
    return rows / (time.perf_counter() - start)


def wait_for_quiet(db: Any) -> None:
    db.sync()
    db.checkpoint()


class Work(ABC):
    """Measures one tunable. `measures`: each figure's name and unit; those in seconds, ms or bytes are better small."""

    tunable: ClassVar[str]
    # Two or three values; what else is set stays the same.
    values: ClassVar[tuple[Value, ...]]
    measures: ClassVar[dict[str, str]]

    @abstractmethod
    def run(self, value: Value, sizes: Sizes, folder: Path) -> Figures:
        """The figures with the tunable set to `value`; `folder` does not exist yet."""

    def open(self, folder: Path, value: Value, **settings: Any) -> Any:
        chosen = {"durability": "async", self.tunable: value} | settings
        return lyredb.open(folder, **chosen)


class LeafBytes(Work):
    tunable = "leaf_bytes"
    values = (1024, 8192, 131_072)
    measures: ClassVar = {
        "full scan": "rows/s",
        "random puts": "/s",
        "random gets": "/s",
        "on disk": "bytes a record",
    }

    def run(self, value: Value, sizes: Sizes, folder: Path) -> Figures:
        data = Data(sizes.seed, sizes.records)
        keys = data.keys(data.uniform(sizes.operations, 1))
        with self.open(folder, value) as db:
            load(db, data)
            wait_for_quiet(db)
            used = db.stats().database["file_used"] / sizes.records
            return {
                "full scan": rows_a_second(db.scan()),
                "random gets": rate(db.get, keys, sizes),
                "random puts": put_rate(db, list(zip(keys, data.values(0, len(keys)), strict=True)), sizes),
                "on disk": used,
            }


class DeltaRecords(Work):
    tunable = "delta_records"
    values = (1, 16, 128)
    measures: ClassVar = {"random puts": "/s", "gets of changed leaves": "/s", "scan of changed leaves": "rows/s"}

    def run(self, value: Value, sizes: Sizes, folder: Path) -> Figures:
        # So few that every leaf gathers changes, whatever the value.
        data = Data(sizes.seed, sizes.records // 10)
        keys = data.keys(data.uniform(sizes.operations, 2))
        pairs = list(zip(keys, data.values(0, len(keys)), strict=True))
        with self.open(folder, value) as db:
            load(db, data)
            wait_for_quiet(db)
            puts = put_rate(db, pairs, sizes)
            return {
                "random puts": puts,
                "gets of changed leaves": rate(db.get, keys, sizes),
                "scan of changed leaves": rows_a_second(db.scan()),
            }


class _Compression(Work):
    measures: ClassVar = {"on disk": "bytes a record", "checkpoint": "s", "scan from the file": "rows/s"}

    def run(self, value: Value, sizes: Sizes, folder: Path) -> Figures:
        data = Data(sizes.seed, sizes.records // 4)
        with self.open(folder, value) as db:
            load(db, data)
            db.sync()
            start = time.perf_counter()
            db.checkpoint()
            seconds = time.perf_counter() - start
            used = db.stats().database["file_used"] / data.records
        with self.open(folder, value) as db:
            scan = rows_a_second(db.scan())
        return {"on disk": used, "checkpoint": seconds, "scan from the file": scan}


class Codec(_Compression):
    tunable = "codec"
    values = ("none", "lz4", "zstd")


class CodecLevel(_Compression):
    tunable = "codec_level"
    values = (1, 6, 19)

    def open(self, folder: Path, value: Value, **settings: Any) -> Any:
        return super().open(folder, value, codec="zstd", **settings)


class BlobBytes(Work):
    """A value of 3 KiB and a short one beside each other: up to 3 KiB long ones are outside, above it in the leaf."""

    tunable = "blob_bytes"
    values = (1024, 4096)
    measures: ClassVar = {
        "gets of long values": "/s",
        "scan of keys from the file": "rows/s",
        "scan from the file": "rows/s",
        "written for a short put": "bytes",
    }

    def run(self, value: Value, sizes: Sizes, folder: Path) -> Figures:
        data = Data(sizes.seed, max(1_000, sizes.records // 20))
        keys = data.keys(data.shuffled(3))
        long = b"".join(data.values(0, min(30_000, data.records)))
        with self.open(folder, value) as db:
            for chunk in slices(keys, BATCH_RECORDS // 10):
                db.write_batch(
                    pair
                    for key in chunk
                    for pair in ((key + b"long", long[key[0] * 64 :][:3072]), (key + b"short", key))
                )
            wait_for_quiet(db)
            changed = keys[: len(keys) // 20]
            before = db.stats().database["pages_written_bytes"]
            for key in changed:
                db.put(key + b"short", b"changed")
            wait_for_quiet(db)
            written = (db.stats().database["pages_written_bytes"] - before) / len(changed)
        with self.open(folder, value) as db:
            of_keys = rows_a_second(db.scan().keys())
        with self.open(folder, value) as db:
            whole = rows_a_second(db.scan())
            gets = rate(db.get, [key + b"long" for key in keys], sizes)
        return {
            "gets of long values": gets,
            "scan of keys from the file": of_keys,
            "scan from the file": whole,
            "written for a short put": written,
        }


class MemoryBytes(Work):
    """Reads at random of more data than the budget, or less; the memory used is that in the middle of the reading."""

    tunable = "memory_bytes"
    values = (MIB, 8 * MIB, 256 * MIB)
    measures: ClassVar = {"random gets": "/s", "memory used": "MiB"}

    def run(self, value: Value, sizes: Sizes, folder: Path) -> Figures:
        data = Data(sizes.seed, sizes.records)
        keys = data.keys(data.uniform(sizes.operations, 4))
        with self.open(folder, value) as db:
            load(db, data)
            wait_for_quiet(db)
            get, used = db.get, list[float]()

            def body(chunk: list[bytes]) -> None:
                for key in chunk:
                    get(key)
                used.append(db.stats().database["memory_used"] / MIB)

            # As long as it may: the budget is kept from time to time, not at each read.
            gets = timed(cycle(slices(keys, CHUNK)), body, sizes.seconds).per_second
            return {"random gets": gets, "memory used": median(used)}


class _Scarce(Work):
    """Gets from a database that was opened anew, with `times` the records that its memory could hold uncompressed.

    "from disk" is the part of them that took the file, after as many gets as are measured.
    """

    measures: ClassVar = {"gets": "/s", "from disk": "%"}
    times: ClassVar[int]

    @abstractmethod
    def settings(self, memory: int) -> dict[str, Any]:
        """Beside the tunable itself; `memory` is what there is."""

    def setting(self, value: Value, memory: int) -> Value:
        """What the tunable is set to. Numbers of bytes here are those of the greatest number of records."""
        return value if isinstance(value, str) or value <= 0 else max(1, memory * value // (16 * MIB))

    @abstractmethod
    def keys(self, data: Data, sizes: Sizes) -> list[bytes]:
        """What is asked for: half of it before the measurement."""

    def run(self, value: Value, sizes: Sizes, folder: Path) -> Figures:
        data = Data(sizes.seed, sizes.records)
        memory = max(MIB, sizes.records * 116 // self.times)
        with self.open(folder, self.setting(value, memory)) as db:
            load(db, data)
        chosen = {"memory_bytes": memory} | self.settings(memory)
        with self.open(folder, self.setting(value, memory), **chosen) as db:
            keys = self.keys(data, sizes)
            for key in keys[: sizes.operations // 2]:
                db.get(key)
            before, keys = db.stats().families["default"], keys[sizes.operations // 2 :]
            gets = timed(slices(keys, CHUNK), lambda chunk: [db.get(key) for key in chunk], sizes.seconds).per_second
            after = db.stats().families["default"]
        done, disk = (
            sum(after[name] - before[name] for name in names)
            for names in (("gets_found", "gets_absent"), ("gets_from_disk",))
        )
        return {"gets": gets, "from disk": 100 * disk / done}


class HotBytes(_Scarce):
    """Gets from few leaves, with room for all of them compressed: with 0 each is unpacked at each get."""

    tunable = "hot_bytes"
    values = (0, -1)
    times = 2

    def settings(self, memory: int) -> dict[str, Any]:
        return {"warm_bytes": memory // 2, "point_cache_bytes": 0}

    def keys(self, data: Data, sizes: Sizes) -> list[bytes]:
        few = sorted(data.keys(data.shuffled(6)))[: sizes.records // 50]
        return [few[at % len(few)] for at in data.uniform(sizes.operations, 7)]


class WarmBytes(_Scarce):
    """Uniform gets from data that is twice the memory, and fits once it is compressed."""

    tunable = "warm_bytes"
    values = (0, 13 * MIB)
    times = 2

    def settings(self, memory: int) -> dict[str, Any]:
        return {"point_cache_bytes": 0}

    def keys(self, data: Data, sizes: Sizes) -> list[bytes]:
        return data.keys(data.uniform(sizes.operations, 7))


class PointCacheBytes(_Scarce):
    """Skewed gets (Zipf, 0.99) from data that is eight times the memory."""

    tunable = "point_cache_bytes"
    values = (0, 12 * MIB)
    times = 8

    def settings(self, memory: int) -> dict[str, Any]:
        return {"warm_bytes": 0}

    def keys(self, data: Data, sizes: Sizes) -> list[bytes]:
        return data.keys(data.zipf(sizes.operations, 7))


class WarmCodec(Work):
    """Gets from leaves of a zstd-compressed database that were driven from memory into what is kept warm."""

    tunable = "warm_codec"
    values = ("stored", "none", "lz4")
    measures: ClassVar = {"gets": "/s", "leaves kept warm": "bytes a record"}

    def run(self, value: Value, sizes: Sizes, folder: Path) -> Figures:
        data = Data(sizes.seed, sizes.records // 4)
        keys = data.keys(data.uniform(sizes.operations, 7))
        every = data.records * 200
        settings = {"hot_bytes": 0, "warm_bytes": every, "point_cache_bytes": 0, "codec": "zstd", "codec_level": 1}
        with self.open(folder, value, memory_bytes=4 * every, **settings) as db:
            load(db, data)
            wait_for_quiet(db)
            # Less than the images take, and enough for all that is kept in their place.
            budget = max(MIB, data.records * 110)
            db.configure(memory_bytes=budget)
            wait_until(lambda: db.stats().database["memory_used"] <= budget, "memory is within its budget")
            warm = db.stats().database["memory_warm"] / data.records
            return {"gets": rate(db.get, keys, sizes), "leaves kept warm": warm}


class Replacement(_Scarce):
    """Gets from some leaves that fit into memory, one in four, and in between from all leaves in turn, as by a scan."""

    tunable = "replacement"
    values = ("adaptive", "s3-fifo", "second-chance")
    times = 4

    def settings(self, memory: int) -> dict[str, Any]:
        return {"warm_bytes": 0, "point_cache_bytes": 0}

    def keys(self, data: Data, sizes: Sizes) -> list[bytes]:
        # About one of each leaf.
        leaves = sorted(data.keys(data.shuffled(6)))[::50]
        often = leaves[::13]
        wanted = Data(sizes.seed, len(often)).uniform(sizes.operations, 7)
        return [leaves[turn % len(leaves)] if turn % 4 else often[at] for turn, at in enumerate(wanted)]


class AbsentFilter(_Scarce):
    """Gets of keys that are not there, from data that is eight times the memory."""

    tunable = "absent_filter"
    values = ("off", "on")
    times = 8

    def settings(self, memory: int) -> dict[str, Any]:
        return {"warm_bytes": 0, "point_cache_bytes": memory * 3 // 4, "hot_bytes": 0}

    def keys(self, data: Data, sizes: Sizes) -> list[bytes]:
        return data.absent_keys(sizes.operations)


class ReadaheadBytes(Work):
    """A scan of records on disk within a memory that holds a part of them, the file not in the system's cache."""

    tunable = "readahead_bytes"
    values = (0, 256 << 10, 1 << 20)
    measures: ClassVar = {"scan from the disk": "rows/s"}

    def run(self, value: Value, sizes: Sizes, folder: Path) -> Figures:
        with self.open(folder, value) as db:
            load(db, Data(sizes.seed, sizes.records))
        page_cache.drop(folder)
        with self.open(folder, value, memory_bytes=2 * MIB) as db:
            return {"scan from the disk": rows_a_second(db.scan())}


class CheckpointLogBytes(Work):
    """Records written by a process that is killed, and the opening of what it left."""

    tunable = "checkpoint_log_bytes"
    values = (MIB, 8 * MIB, 256 * MIB)
    measures: ClassVar = {"writes in batches": "/s", "opening after a kill": "s"}

    def run(self, value: Value, sizes: Sizes, folder: Path) -> Figures:
        command = [sys.executable, "-m", "benches.log_writer", str(folder), str(value)]
        command += [str(sizes.records), str(sizes.seed)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            try:
                line = writer.stdout.readline()
                time.sleep(PAUSE)
            finally:
                writer.kill()
        if not line or writer.returncode != -signal.SIGKILL:
            raise RuntimeError(f"the writer ended by itself: {writer.returncode}")
        start = time.perf_counter()
        db = self.open(folder, value)
        seconds = time.perf_counter() - start
        if len(db) != sizes.records:
            raise AssertionError(f"{len(db)} of {sizes.records} records are left after a kill")
        db.close()
        return {"writes in batches": float(line), "opening after a kill": seconds}


class GroupIntervalMs(Work):
    """Single puts with durability "group", and how long the newest one waits for the disk."""

    tunable = "group_interval_ms"
    values = (1, 50, 200)
    measures: ClassVar = {"puts": "/s", "syncs": "/s", "put to disk": "ms"}

    def run(self, value: Value, sizes: Sizes, folder: Path) -> Figures:
        data = Data(sizes.seed, sizes.records)
        pairs = data.pairs(0, sizes.records)
        # At least three times the longest interval.
        seconds = max(sizes.seconds, 0.6)
        with self.open(folder, value, durability="group") as db:
            put, at = db.put, 0
            before, start = db.stats().database["log_syncs"], time.perf_counter()
            while (passed := time.perf_counter() - start) < seconds:
                for key, record in pairs[at : at + 100]:
                    put(key, record)
                at = (at + 100) % len(pairs)
                time.sleep(0.000_1)  # a program that does something else, too
            syncs = db.stats().database["log_syncs"] - before
            puts = db.stats().families["default"]["puts"]
            waits = [self._wait(db) for _ in range(3)]
        return {"puts": puts / passed, "syncs": syncs / passed, "put to disk": 1_000 * max(waits)}

    @staticmethod
    def _wait(db: Any) -> float:
        start = time.perf_counter()
        db.put(b"waits", b"for the disk")
        version = db.stats().database["version"]
        wait_until(lambda: db.stats().database["version_on_disk"] >= version, "a put is on disk", pause=0.000_2)
        return time.perf_counter() - start


class HeldBackBytes(Work):
    """What is overwritten under an open snapshot, and how much of that there is when a warning tells."""

    tunable = "held_back_bytes"
    values = (MIB, 4 * MIB)
    measures: ClassVar = {"old versions": "bytes at the warning"}

    def run(self, value: Value, sizes: Sizes, folder: Path) -> Figures:
        warnings: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: warnings.append(record.getMessage())
        logger = logging.getLogger("lyredb")
        logger.addHandler(handler)
        try:
            with self.open(folder, value) as db:
                pairs = [(b"%08d" % number, bytes(1000)) for number in range(8_000)]
                db.write_batch(pairs)
                with db.snapshot():
                    for start in range(0, len(pairs), 100):
                        db.write_batch(pairs[start : start + 100])
                        # What is old is looked at once a second.
                        time.sleep(0.1)
                        if warnings:
                            break
                    return {"old versions": float(start + 100) * 1_000}
        finally:
            logger.removeHandler(handler)


class SlackPercent(Work):
    """What the folder takes soon after all records have been written anew several times."""

    tunable = "slack_percent"
    values = (5, 100, 1_000)
    measures: ClassVar = {"folder": "bytes a record"}

    def run(self, value: Value, sizes: Sizes, folder: Path) -> Figures:
        data = Data(sizes.seed, max(sizes.records, 100_000))
        with self.open(folder, value, codec="none") as db:
            for _ in range(3):
                load(db, data)
                db.checkpoint()
            # Two windows in which the rate of writing is measured, and the checkpoints after them.
            time.sleep(4)
            figures = db.stats().database
        return {"folder": (figures["file_size"] + figures["log_size"]) / data.records}


WORKS: dict[str, Work] = {
    work.tunable: work
    for work in (
        LeafBytes(),
        DeltaRecords(),
        Codec(),
        CodecLevel(),
        BlobBytes(),
        MemoryBytes(),
        HotBytes(),
        WarmBytes(),
        PointCacheBytes(),
        WarmCodec(),
        Replacement(),
        AbsentFilter(),
        ReadaheadBytes(),
        CheckpointLogBytes(),
        GroupIntervalMs(),
        HeldBackBytes(),
        SlackPercent(),
    )
}
