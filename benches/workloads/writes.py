"""Writing without waiting for the disk, and deleting."""

from __future__ import annotations

from ..data import Pair, as_bytes, slices
from ..settings import BATCH_RECORDS
from .base import KEY_VALUE_STORES, Context, Measure, Result, Workload, timed

CHUNK_WRITES = 500
# Loads are timed to their end; this only stops a store that has stalled.
LOAD_LIMIT_SECONDS = 120.0


class Put(Workload):
    name = "put"
    title = "single puts, not waiting for the disk"
    measures = (Measure("put", "put", "ns"),)

    def run(self, context: Context) -> Result:
        data, settings = context.data, context.settings
        pairs = data.pairs(data.records, data.records + settings.operations)
        with context.copied() as store:
            context.check(store)
            session = store.session()

            def body(chunk: list[Pair]) -> None:
                put = session.put
                for key, value in chunk:
                    put(key, value)

            time = timed(slices(pairs, CHUNK_WRITES), body, settings.seconds)
            key, value = pairs[time.operations - 1]
            if session.get(key) != value:
                raise AssertionError(f"{store.name} lost a put")
            session.close()
        return Result({"put": time.ns}, time.operations, time.seconds)


class BatchRandom(Workload):
    name = "batch_random"
    title = "batches of 1,000, random order"
    measures = (Measure("write", "records", "per second"),)
    prepared = False

    def run(self, context: Context) -> Result:
        batches = list(context.data.batches())
        with context.empty() as store:
            time = timed(batches, store.write_batch, LOAD_LIMIT_SECONDS)
            context.check(store)
        return Result({"write": time.per_second}, time.operations, time.seconds)


class BatchSorted(Workload):
    name = "batch_sorted"
    title = "batches of 1,000, sorted"
    measures = (Measure("write", "records", "per second"),)
    prepared = False

    def run(self, context: Context) -> Result:
        data = context.data
        order = data.sorted_order()
        values = data.value_array(0, data.records)[order]
        pairs = list(zip(data.keys(order), as_bytes(values), strict=True))
        with context.empty() as store:
            batches = slices(pairs, BATCH_RECORDS)
            time = timed(batches, store.write_sorted_batch, LOAD_LIMIT_SECONDS)
            context.check(store)
        return Result({"write": time.per_second}, time.operations, time.seconds)


class BatchArrow(Workload):
    """LyreDB takes columns; LMDB is given the same records as sorted pairs, its fastest way in."""

    name = "batch_arrow"
    title = "batches of 1,000, sorted, from Arrow columns"
    measures = (Measure("write", "records", "per second"),)
    prepared = False
    stores = frozenset({"lyredb", "lmdb", "lmdb_writemap"})

    def run(self, context: Context) -> Result:
        import pyarrow

        keys, values = context.data.sorted_arrays()
        columns = [pyarrow.array(as_bytes(rows), pyarrow.binary()) for rows in (keys, values)]
        with context.empty() as store:
            batches = store.arrow_batches(columns[0], columns[1], BATCH_RECORDS)
            time = timed(batches, store.write_arrow_batch, LOAD_LIMIT_SECONDS)
            context.check(store)
        # The length of a record batch is its number of columns in some versions of Arrow, so
        # count the records here.
        operations = context.data.records
        return Result({"write": operations / time.seconds}, operations, time.seconds)


class Delete(Workload):
    name = "delete"
    title = "deleting in random order"
    measures = (Measure("delete", "deletes", "per second"),)
    stores = KEY_VALUE_STORES

    def run(self, context: Context) -> Result:
        data, settings = context.data, context.settings
        order = data.shuffled(pattern=4)[: min(settings.operations, data.records)]
        keys = data.keys(order)
        with context.copied() as store:
            context.check(store)
            session = store.session()

            def body(chunk: list[bytes]) -> None:
                delete = session.delete
                for key in chunk:
                    delete(key)

            time = timed(slices(keys, CHUNK_WRITES), body, settings.seconds)
            if session.get(keys[0]) is not None or session.get(keys[time.operations - 1]):
                raise AssertionError(f"{store.name} still answers for a deleted key")
            session.close()
        return Result({"delete": time.per_second}, time.operations, time.seconds)
