"""What is measured: each work is a line of the table, or more, and every measurement a process of its own."""

from __future__ import annotations

import gc
import random
import resource
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any, ClassVar

import numpy as np

from ..data import as_bytes
from ..settings import RECORD_BYTES, VALUE_BYTES
from ..stores.base import Session, Store
from ..workloads.base import Measure
from .data import READ_STREAM, WRITE_STREAM, Records, Zipf
from .settings import Settings
from .stores import STORES

CHUNK_SECONDS = 0.05
LARGEST_CHUNK = 8_192
LONGEST_SCAN = 100
Keys = Callable[[int], list[bytes]]


@dataclass
class Outcome:
    """What a measurement gives: figures by the name of their measure, and evidence for them."""

    figures: dict[str, float] = field(default_factory=dict)
    operations: int = 0
    seconds: float = 0.0
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Use:
    """What the process has used of the machine until now."""

    read_bytes: int
    reads: int
    major_faults: int
    minor_faults: int
    user_seconds: float
    system_seconds: float

    @classmethod
    def now(cls) -> Use:
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
        io = {name: int(text) for name, text in (line.split(":") for line in lines)}
        used = resource.getrusage(resource.RUSAGE_SELF)
        return cls(io["read_bytes"], io["syscr"], used.ru_majflt, used.ru_minflt, used.ru_utime, used.ru_stime)

    def per_operation(self, before: Use, operations: int) -> dict[str, float]:
        return {name: (value - getattr(before, name)) / operations for name, value in vars(self).items()}


@dataclass
class Context:
    """What a measuring process works with. `opened` gives the store with its memory held; a folder of its own with
    `copy`, an empty one with `empty`. `noting` says what memory is in use meanwhile, `turns` for how many
    seconds to work each time that it is this store's turn."""

    settings: Settings
    records: Records
    opened: Callable[..., Any]
    noting: Callable[[], Any]
    turns: Callable[[], Iterable[float]]

    def random(self, stream: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.settings.seed, stream]))

    def zipf(self, stream: int = READ_STREAM) -> Keys:
        zipf, source, records = Zipf(self.records.count), self.random(stream), self.records
        return lambda count: records.keys(records.scattered(zipf.ranks(source, count)))

    def uniform(self, make: Callable[[Any], list[bytes]] | None = None) -> Keys:
        source, records = self.random(READ_STREAM), self.records
        return lambda count: (make or records.keys)(source.integers(0, records.count, count))


def _counters(store: Store) -> dict[str, float]:
    told = getattr(store, "counters", None)
    return {} if told is None else told()


def run_for(seconds: float, operate: Callable[[int], tuple[int, float]]) -> tuple[int, float]:
    """Call `operate(count)`, which tells how many operations it did and how long they took, until they took
    `seconds`. What it makes beforehand is no part of the time."""
    operations, taken, count = 0, 0.0, 64
    while taken < seconds:
        done, lasted = operate(count)
        operations, taken = operations + done, taken + lasted
        count = max(16, min(LARGEST_CHUNK, int(done * CHUNK_SECONDS / max(lasted, 1e-6))))
    return operations, taken


def reading(session: Session, keys: Keys) -> Callable[[int], tuple[int, float]]:
    def operate(count: int) -> tuple[int, float]:
        wanted = keys(count)
        get = session.get
        start = time.perf_counter()
        for key in wanted:
            get(key)
        return len(wanted), time.perf_counter() - start

    return operate


def warm(settings: Settings, operate: Callable[[int], tuple[int, float]]) -> float:
    """Until what an operation reads from disk no longer falls, or time is up. Returns the seconds it took.

    A cache of single records fills for long and ever more slowly, so the time looked at grows with the time taken: its
    second half is compared with the quarter before.
    """
    window = min(1.0, settings.warm_seconds / 2)
    taken, costs = 0.0, []
    while taken < settings.warm_seconds:
        before = Use.now()
        operations, seconds = run_for(window, operate)
        taken += seconds
        costs.append((Use.now().read_bytes - before.read_bytes) / operations)
        half, quarter = len(costs) // 2, len(costs) // 4
        if quarter >= 2 and mean(costs[half:]) >= 0.97 * mean(costs[quarter:half]):
            break
    return taken


def measured(
    context: Context, store: Store, operate: Callable[[int], tuple[int, float]], turns: Iterable[float]
) -> Outcome:
    before, counters = Use.now(), _counters(store)
    with context.noting() as memory:
        operations, taken = 0, 0.0
        for seconds in turns:
            done, lasted = run_for(seconds, operate)
            operations, taken = operations + done, taken + lasted
    used = Use.now().per_operation(before, operations)
    after = _counters(store)
    return Outcome(
        {"operations": operations / taken},
        operations,
        taken,
        {
            "memory": memory,
            "per_operation": used,
            "counters": {name: after[name] - counters[name] for name in counters},
            "held": {name: after[name] for name in after if name.startswith("memory")},
        },
    )


class Work(ABC):
    """One line of the table, or more."""

    name: ClassVar[str]
    title: ClassVar[str]
    measures: ClassVar[tuple[Measure, ...]] = (Measure("operations", "operations", "per second"),)
    stores: ClassVar[tuple[str, ...]] = STORES
    values: ClassVar[str] = "random"
    # Whether it needs the records loaded.
    prepared: ClassVar[bool] = True
    # Whether the stores work in turn, all open at the same time.
    in_turn: ClassVar[bool] = False

    def settings(self, settings: Settings) -> Settings:
        """With the sizes of this work."""
        return settings

    def records(self, settings: Settings) -> Records:
        return Records(self.values, settings.records, settings.seed)

    @abstractmethod
    def run(self, context: Context) -> Outcome: ...


class _Reads(Work):
    in_turn = True

    def keys(self, context: Context) -> Keys:
        return context.zipf()

    def run(self, context: Context) -> Outcome:
        keys = self.keys(context)
        with context.opened() as store:
            session = store.session()
            operate = reading(session, keys)
            warmed = warm(context.settings, operate)
            outcome = measured(context, store, operate, context.turns())
            outcome.evidence["warm_seconds"] = warmed
            session.close()
        return outcome


class ZipfReads(_Reads):
    name = "zipf"
    title = "gets, Zipf 0.99"


class UniformReads(_Reads):
    name = "uniform"
    title = "gets, uniform, data 8 times the memory"

    def settings(self, settings: Settings) -> Settings:
        return replace(settings, memory_bytes=settings.records * RECORD_BYTES // 8)

    def keys(self, context: Context) -> Keys:
        return context.uniform()


class AbsentReads(_Reads):
    name = "absent"
    title = "gets of absent keys, uniform"

    def keys(self, context: Context) -> Keys:
        return context.uniform(context.records.absent_keys)


class _TwiceTheMemory(_Reads):
    def settings(self, settings: Settings) -> Settings:
        return replace(settings, records=2 * settings.memory_bytes // RECORD_BYTES)

    def keys(self, context: Context) -> Keys:
        return context.uniform()


class CompressibleReads(_TwiceTheMemory):
    name = "compressible"
    title = "gets, uniform, compressible data twice the memory"
    values = "text"


class FlightReads(_TwiceTheMemory):
    name = "flights"
    title = "gets, uniform, flights twice the memory"
    values = "flights"


class Scan(Work):
    """Zipf reads, then the same beside a scan of four times the memory, then alone again."""

    name = "scan"
    title = "gets, Zipf 0.99, and a long scan"
    measures = (
        Measure("before", "before", "per second"),
        Measure("during", "beside it", "per second"),
        Measure("after", "the second after it", "per second"),
        Measure("rows", "rows scanned", "per second"),
    )

    def run(self, context: Context) -> Outcome:
        settings = context.settings
        rows_wanted = min(context.records.count, 4 * settings.memory_bytes // RECORD_BYTES)
        keys = context.zipf()
        with context.opened() as store:
            session = store.session()
            operate = reading(session, keys)
            warm(settings, operate)
            outcome = measured(context, store, operate, [settings.seconds])
            gets = rows = 0
            get_seconds = row_seconds = 0.0
            with store.scan() as pairs:
                walk = iter(pairs)
                while rows < rows_wanted:
                    start = time.perf_counter()
                    rows += sum(1 for _pair in islice(walk, 20_000))
                    row_seconds += time.perf_counter() - start
                    done, lasted = operate(500)
                    gets, get_seconds = gets + done, get_seconds + lasted
            after = measured(context, store, operate, [min(1.0, settings.seconds)])
            session.close()
        outcome.figures = {
            "before": outcome.figures["operations"],
            "during": gets / get_seconds,
            "after": after.figures["operations"],
            "rows": rows / row_seconds,
        }
        outcome.evidence["after"] = after.evidence
        return outcome


class _Mix(Work):
    """YCSB: reads or scans, and writes that do not wait for the disk, on a copy of the folder."""

    scans: ClassVar[bool] = False
    writes: ClassVar[float]
    inserts: ClassVar[bool] = False

    def run(self, context: Context) -> Outcome:
        keys, new, source = context.zipf(), context.uniform(context.records.absent_keys), context.random(WRITE_STREAM)
        with context.opened(copy=True) as store:
            session = store.session()

            def operate(count: int) -> tuple[int, float]:
                writes = source.random(count) < self.writes
                values = as_bytes(source.integers(0, 256, size=(count, VALUE_BYTES), dtype=np.uint8))
                lengths = source.integers(1, LONGEST_SCAN + 1, count).tolist()
                wanted = keys(count)
                if self.inserts:
                    wanted = [
                        fresh if write else key for fresh, key, write in zip(new(count), wanted, writes, strict=True)
                    ]
                operations = list(zip(wanted, values, lengths, writes.tolist(), strict=True))
                scan_from, put, get = session.scan_from, session.put, session.get
                start = time.perf_counter()
                for key, value, length, write in operations:
                    if write:
                        put(key, value)
                        get = session.get
                    elif self.scans:
                        scan_from(key, length)
                    else:
                        get(key)
                return count, time.perf_counter() - start

            warm(context.settings, operate)
            outcome = measured(context, store, operate, [context.settings.seconds])
            session.close()
        return outcome


class YCSBA(_Mix):
    name = "ycsb_a"
    title = "YCSB A: 50 % reads, 50 % updates"
    writes = 0.5


class YCSBB(_Mix):
    name = "ycsb_b"
    title = "YCSB B: 95 % reads, 5 % updates"
    writes = 0.05


class YCSBE(_Mix):
    name = "ycsb_e"
    title = "YCSB E: 95 % scans of 1 to 100, 5 % inserts"
    scans = inserts = True
    writes = 0.05


class Load(Work):
    """Puts of new records in random order into an empty store, each timed."""

    name = "load"
    title = "loading by single puts in random order"
    measures = (
        Measure("operations", "puts", "per second"),
        Measure("p99_99", "p99.99 of a put", "seconds"),
        Measure("longest", "longest put", "seconds"),
    )
    prepared = False

    def run(self, context: Context) -> Outcome:
        records, times, source = context.records, [], context.random(WRITE_STREAM)
        loaded = 0

        def operate(count: int) -> tuple[int, float]:
            nonlocal loaded
            ranks = np.arange(loaded, min(loaded + count, records.count))
            loaded += len(ranks)
            keys = records.keys(records.scattered(ranks))
            values = as_bytes(source.integers(0, 256, size=(len(keys), VALUE_BYTES), dtype=np.uint8))
            pairs = list(zip(keys, values, strict=True))
            put, clock = session.put, time.perf_counter
            start = last = clock()
            for key, value in pairs:
                put(key, value)
                now = clock()
                times.append(now - last)
                last = now
            if loaded == records.count:
                loaded = 0
            return len(pairs), last - start

        with context.opened(empty=True) as store:
            session = store.session()
            outcome = measured(context, store, operate, [context.settings.load_seconds])
            session.close()
        ordered = np.sort(np.array(times))
        outcome.figures["p99_99"] = float(ordered[int(len(ordered) * 0.9999)])
        outcome.figures["longest"] = float(ordered[-1])
        return outcome


class Hot(Work):
    """What tiers cost when nothing has to go: two databases with the same records in one process, one with memory
    without end and one with just enough, read in turn, a few milliseconds each."""

    name = "hot"
    title = "gets, uniform, all in memory"
    measures = (
        Measure("unlimited", "unlimited", "per second"),
        Measure("fitting", "just enough", "per second"),
        Measure("cost", "cost of a limit, median of pairs", "share"),
    )
    stores = ("lyredb",)

    def settings(self, settings: Settings) -> Settings:
        return replace(settings, records=settings.hot_records)

    def run(self, context: Context) -> Outcome:
        settings, keys = context.settings, context.uniform()
        with context.opened(memory_bytes=1 << 40) as unlimited:
            for _pair in _walk(unlimited):
                pass
            run_for(min(1.0, settings.seconds), reading(unlimited.session(), keys))
            enough = int(1.05 * _counters(unlimited)["memory_used"]) + (1 << 20)
            with context.opened(copy=True, memory_bytes=enough) as fitting:
                for _pair in _walk(fitting):
                    pass
                sides = {"unlimited": reading(unlimited.session(), keys), "fitting": reading(fitting.session(), keys)}
                for operate in sides.values():
                    run_for(min(1.0, settings.seconds), operate)
                before = _counters(fitting)
                taken: dict[str, list[float]] = {name: [] for name in sides}
                order, shuffle = list(sides), random.Random(settings.seed).shuffle
                while sum(map(sum, taken.values())) < 2 * settings.seconds:
                    shuffle(order)
                    for name in order:
                        taken[name].append(sides[name](LARGEST_CHUNK)[1])
                after = _counters(fitting)
        costs = sorted(1 - whole / part for whole, part in zip(taken["unlimited"], taken["fitting"], strict=True))
        operations = LARGEST_CHUNK * len(costs)
        rates = {name: operations / sum(seconds) for name, seconds in taken.items()}
        return Outcome(
            {**rates, "cost": costs[len(costs) // 2]},
            2 * operations,
            sum(map(sum, taken.values())),
            {
                "memory_bytes": enough,
                "counters": {name: after[name] - before[name] for name in before},
            },
        )


def _walk(store: Store) -> Iterator[Any]:
    with store.scan() as pairs:
        yield from pairs


@contextmanager
def frozen() -> Iterator[None]:
    """Without garbage collection, which would walk all keys again and again."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


WORKS: dict[str, Work] = {
    work.name: work
    for work in (
        ZipfReads(),
        UniformReads(),
        CompressibleReads(),
        FlightReads(),
        AbsentReads(),
        Scan(),
        YCSBA(),
        YCSBB(),
        YCSBE(),
        Hot(),
        Load(),
    )
}
