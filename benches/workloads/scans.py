"""Reading in key order."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

from ..data import slices
from .base import KEY_VALUE_STORES, Context, Measure, Result, Workload, timed

SCAN_RECORDS = 100


def _repeated(context: Context, scan: Callable[[], int]) -> Result:
    """Whole scans, one at least, until the time is up."""
    records = context.data.records
    gc.collect()
    gc.freeze()
    scans = 0
    start = now = time.perf_counter()
    while scans == 0 or now - start < context.settings.seconds:
        count = scan()
        if count != records:
            raise AssertionError(f"{context.store.name} scanned {count} of {records} records")
        scans += 1
        now = time.perf_counter()
    rows = scans * records
    return Result({"rows": rows / (now - start)}, rows, now - start)


class ScanPairs(Workload):
    name = "scan_pairs"
    title = "full scan of pairs in Python"
    measures = (Measure("rows", "rows", "per second"),)

    def run(self, context: Context) -> Result:
        with context.loaded() as store:
            context.ready(store).close()

            def scan() -> int:
                count = 0
                with store.scan() as pairs:
                    for count, (_key, _value) in enumerate(pairs, 1):  # noqa: B007
                        pass
                return count

            return _repeated(context, scan)


class ScanArrow(Workload):
    name = "scan_arrow"
    title = "full scan to Arrow"
    measures = (Measure("rows", "rows", "per second"),)
    stores = frozenset({"lyredb", "duckdb"})

    def run(self, context: Context) -> Result:
        with context.loaded() as store:
            store.to_arrow()  # untimed, so that caches are full

            def scan() -> int:
                return int(store.to_arrow().num_rows)

            return _repeated(context, scan)


class ScanShort(Workload):
    name = "scan_100"
    title = "scans of 100"
    measures = (Measure("scan", "scans", "per second"),)
    stores = KEY_VALUE_STORES - {"dict"}

    def run(self, context: Context) -> Result:
        data, settings = context.data, context.settings
        starts = data.keys(data.uniform(settings.operations // 10, pattern=6))
        with context.loaded() as store:
            session = context.ready(store)
            found = session.scan_from(starts[0], SCAN_RECORDS)
            with store.scan() as pairs:
                expected = [key for key, _value in pairs if key >= starts[0]][:SCAN_RECORDS]
            if [key for key, _value in found] != expected:
                raise AssertionError(f"{store.name}: a short scan and a full one disagree")

            def body(keys: list[bytes]) -> None:
                scan_from = session.scan_from
                for key in keys:
                    scan_from(key, SCAN_RECORDS)

            time = timed(slices(starts, 50), body, settings.seconds)
            session.close()
        return Result({"scan": time.per_second}, time.operations, time.seconds)
