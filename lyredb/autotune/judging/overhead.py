"""What it costs to be looked at: a database that is tuned but frozen, beside one that is not tuned."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

import lyredb
from lyredb.autotune.evaluation_text import Grid
from lyredb.autotune.judging.circumstances import Circumstances, NotMeasured
from lyredb.autotune.judging.figures import Figure, Part, exactly, median, shown

_VALUE = b"v" * 100
_AT_ONCE = 2_000
_THREAD = "lyredb-autotune"
_WAIT_SECONDS = 60.0


@dataclass
class _Cost:
    """What the tuner's thread took of a core, while its database was used."""

    thread_seconds: float = 0.0
    seconds: float = 0.0

    @contextmanager
    def counted(self) -> Generator[None, None, None]:
        """Counts what happens meanwhile."""
        before, begin = _thread_seconds(), time.perf_counter()
        yield
        self.seconds += time.perf_counter() - begin
        self.thread_seconds += _thread_seconds() - before


def judge(circumstances: Circumstances) -> Part:
    """Gets and puts in alternating turns of a second; two of them that follow each other make a pair."""
    records = circumstances.amount(100_000, 100_000, 2_000)
    pairs, seconds = circumstances.amount(40, 10, 3), 0.3 if circumstances.tiny else 1.0
    draws = random.Random(circumstances.seed)
    keys = [b"%012d" % draws.randrange(records) for _ in range(_AT_ONCE * 20)]
    cost, found = _Cost(), dict[str, list[float]]()
    with (
        lyredb.open(circumstances.folder / "observed", durability="async", autotune=True) as observed,
        lyredb.open(circumstances.folder / "alone", durability="async") as alone,
    ):
        for database in (observed, alone):
            database.write_batch([(b"%012d" % number, _VALUE) for number in range(records)])
        observed.autotune.freeze()
        for place, kind in enumerate(("get", "put")):
            _warm(observed, kind, keys)
            found[kind] = []
            for number in range(pairs):
                rates = dict[str, float]()
                for side in draws.sample(["observed", "alone"], 2):
                    if side == "alone":
                        with _at_rest(observed):
                            rates[side] = _work(alone, kind, keys, seconds)
                    else:
                        with cost.counted():
                            rates[side] = _work(observed, kind, keys, seconds)
                found[kind].append(rates["observed"] / rates["alone"])
                circumstances.progress(place * pairs + number + 1, 2 * pairs)
    figures = [
        Figure(f"{kind}s of a database that is only observed / of one that is not", median(each), 0.98)
        for kind, each in found.items()
    ]
    core = cost.thread_seconds / cost.seconds
    figures.append(
        Figure("of a core, the tuner's thread while observing", exactly(core), 0.01, at_least=False, form=".2%")
    )
    rows = [
        (f"{kind}s", shown(median(each), ".3f"), f"{min(each):.3f}", f"{max(each):.3f}", str(len(each)))
        for kind, each in found.items()
    ]
    columns = ("observed / not", "median of pairs", "least", "greatest", "pairs")
    return Part(figures, [Grid("Only observing", columns, rows)], {"ratios": found, "thread_share": core})


@contextmanager
def _at_rest(observed: Any) -> Generator[None, None, None]:
    """While the other database works, the tuner of this one does not."""
    observed.autotune.pause()
    try:
        yield
    finally:
        observed.autotune.resume()


def _work(database: Any, kind: str, keys: Sequence[bytes], seconds: float) -> float:
    operations: dict[str, Callable[[Sequence[bytes]], Iterable[Any]]] = {
        "get": lambda some: map(database.get, some),
        "put": lambda some: map(database.put, some, [_VALUE] * len(some)),
    }
    begin, done, passed = time.perf_counter(), 0, 0.0
    while passed < seconds:
        some = keys[done % len(keys) :][:_AT_ONCE]
        # It is exhausted without a Python frame between two operations.
        deque(operations[kind](some), maxlen=0)
        done += len(some)
        passed = time.perf_counter() - begin
    return done / passed


def _warm(observed: Any, kind: str, keys: Sequence[bytes]) -> None:
    """Works until the classifier has recognised something: it is fitted once, and that is not what observing costs."""
    end = time.monotonic() + _WAIT_SECONDS
    _work(observed, kind, keys, 0.5)
    while not any(each.kind == "recognised" for each in observed.autotune.history()):
        if time.monotonic() > end:
            raise NotMeasured(f"nothing was recognised within {_WAIT_SECONDS:.0f} s")
        _work(observed, kind, keys, 0.1)


def _thread_seconds() -> float:
    threads = [each for each in threading.enumerate() if each.name == _THREAD]
    if not threads:
        raise NotMeasured("the tuner's thread has ended")
    times = {each.id: each.user_time + each.system_time for each in psutil.Process().threads()}
    return times[threads[0].native_id or 0]
