"""The six mixes of the Yahoo! Cloud Serving Benchmark, one record a key.

Requests are Zipf 0.99 (D: the latest records most), made before the clock starts. Writes do not
wait for the disk.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..data import Indices, slices
from .base import KEY_VALUE_STORES, Context, Measure, Result, Workload, timed

READ, WRITE, SCAN, MODIFY = range(4)
CHUNK_OPERATIONS = 500
LONGEST_SCAN = 100

# kind, key, value or length of the scan
Operation = tuple[int, bytes, Any]


class _YCSB(Workload):
    measures = (Measure("operations", "operations", "per second"),)
    # Share of operations that are not `other`.
    first: ClassVar[int] = READ
    other: ClassVar[int] = WRITE
    other_share: ClassVar[float] = 0.0
    # Whether writes are new records, and reads prefer the latest.
    inserts: ClassVar[bool] = False
    latest: ClassVar[bool] = False

    def operations(self, context: Context) -> list[Operation]:
        data = context.data
        count = context.settings.operations // (10 if self.first == SCAN else 1)
        random = data.random(3, 50 + ord(self.name[-1]))
        is_other = random.random(count) < self.other_share
        indices: Indices = data.zipf(count, pattern=30 + ord(self.name[-1]))
        if self.inserts:
            before = np.cumsum(is_other) - is_other
            if self.latest:
                indices = np.maximum(data.records + before - 1 - indices, 0)
            indices = np.where(is_other, data.records + before, indices)
        keys = data.keys(indices)
        values = data.values(data.records, data.records + int(is_other.sum()))
        lengths = random.integers(1, LONGEST_SCAN + 1, count).tolist()
        operations: list[Operation] = []
        next_value = iter(values)
        for key, other, length in zip(keys, is_other.tolist(), lengths, strict=True):
            if other:
                operations.append((self.other, key, next(next_value)))
            else:
                operations.append((self.first, key, length if self.first == SCAN else None))
        return operations

    def run(self, context: Context) -> Result:
        chunks = slices(self.operations(context), CHUNK_OPERATIONS)
        with context.copied() if self.other_share else context.loaded() as store:
            session = context.ready(store)

            def body(chunk: list[Operation]) -> None:
                get, put, scan_from = session.get, session.put, session.scan_from
                for kind, key, argument in chunk:
                    if kind == READ:
                        get(key)
                    elif kind == WRITE:
                        put(key, argument)
                        get = session.get
                    elif kind == SCAN:
                        scan_from(key, argument)
                    else:
                        get(key)
                        put(key, argument)
                        get = session.get

            time = timed(chunks, body, context.settings.seconds)
            session.close()
        return Result({"operations": time.per_second}, time.operations, time.seconds)


class YCSBA(_YCSB):
    name = "ycsb_a"
    title = "YCSB A: 50 % reads, 50 % updates"
    other_share = 0.5


class YCSBB(_YCSB):
    name = "ycsb_b"
    title = "YCSB B: 95 % reads, 5 % updates"
    other_share = 0.05


class YCSBC(_YCSB):
    name = "ycsb_c"
    title = "YCSB C: reads only"


class YCSBD(_YCSB):
    name = "ycsb_d"
    title = "YCSB D: 95 % reads of the latest, 5 % inserts"
    other_share = 0.05
    inserts = True
    latest = True


class YCSBE(_YCSB):
    name = "ycsb_e"
    title = "YCSB E: 95 % scans of 1 to 100, 5 % inserts"
    first = SCAN
    other_share = 0.05
    inserts = True
    stores = KEY_VALUE_STORES - {"dict"}


class YCSBF(_YCSB):
    name = "ycsb_f"
    title = "YCSB F: 50 % reads, 50 % read-modify-writes"
    other = MODIFY
    other_share = 0.5
