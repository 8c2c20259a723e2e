"""Work of several threads at once: durable puts, reads beside a computation or a writer."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from itertools import cycle

from ..data import slices
from .base import KEY_VALUE_STORES, Context, Measure, Result, Workload
from .gets import concurrent_keys, read_keys

# A reader looks at the clock, and takes a fresh view, once in so many gets.
GETS_A_VIEW = 100
PUTS_A_CHUNK = 10
READERS = 3
COMPUTING_GETS = 16


class Stop:
    """A flag that costs the loops one attribute; an Event would cost a call."""

    now = False


def run_threads(seconds: float, loops: list[Callable[[Stop], int]]) -> tuple[list[int], float]:
    """Run each loop in a thread of its own until the time is up.

    Returns the operations each one did, and the seconds from the common start to the last end.
    """
    stop = Stop()
    barrier = threading.Barrier(len(loops) + 1)
    operations = [0] * len(loops)
    errors: list[BaseException] = []

    def work(number: int, loop: Callable[[Stop], int]) -> None:
        barrier.wait()
        try:
            operations[number] = loop(stop)
        except BaseException as error:  # handed to the thread that waits, which raises it
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number, loop)) for number, loop in enumerate(loops)]
    for thread in threads:
        thread.start()
    gc.collect()
    gc.freeze()
    barrier.wait()
    start = time.perf_counter()
    time.sleep(seconds)
    stop.now = True
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start
    if errors:
        raise errors[0]
    return operations, elapsed


class _DurablePuts(Workload):
    measures = (Measure("put", "puts", "per second"),)
    stores = KEY_VALUE_STORES - {"dict"}
    threads = 1

    def run(self, context: Context) -> Result:
        data = context.data
        count = max(2_000, min(50_000, context.settings.operations // self.threads))
        with context.copied(durable=True) as store:
            # Or the first syncs would pay for the copy.
            os.sync()

            def writer(number: int) -> Callable[[Stop], int]:
                start = data.records + number * count
                pairs = data.pairs(start, start + count)

                def loop(stop: Stop) -> int:
                    session = store.session()
                    put = session.put
                    done = 0
                    for key, value in cycle(pairs):
                        put(key, value)
                        done += 1
                        if stop.now:
                            break
                    session.close()
                    return done

                return loop

            loops = [writer(number) for number in range(self.threads)]
            operations, seconds = run_threads(context.settings.concurrent_seconds, loops)
            context.check(store)
        done = sum(operations)
        return Result({"put": done / seconds}, done, seconds)


class DurablePut1(_DurablePuts):
    name = "durable_put"
    title = "durable puts, 1 thread"


class DurablePut8(_DurablePuts):
    name = "durable_put_8"
    title = "durable puts, 8 threads"
    threads = 8


class GetBesideComputing(Workload):
    """A store that lets go of the GIL for every read waits a switch interval to get it back."""

    name = "get_computing"
    title = "gets while another Python thread computes"
    measures = (Measure("get", "gets", "per second"),)

    def run(self, context: Context) -> Result:
        settings = context.settings
        chunks = slices(read_keys(context, 5, concurrent_keys(settings)), COMPUTING_GETS)
        with context.loaded() as store:
            context.ready(store).close()

            def read(stop: Stop) -> int:
                session = store.session()
                get = session.get
                done = 0
                for keys in cycle(chunks):
                    for key in keys:
                        get(key)
                    done += COMPUTING_GETS
                    if stop.now:
                        break
                session.close()
                return done

            def compute(stop: Stop) -> int:
                steps = 0
                while not stop.now:
                    steps += 1
                return steps

            operations, seconds = run_threads(settings.concurrent_seconds, [read, compute])
        return Result({"get": operations[0] / seconds}, operations[0], seconds)


class ReadersBesideWriter(Workload):
    name = "readers_writer"
    title = "3 readers beside a writer"
    measures = (
        Measure("reads", "reads", "per second"),
        Measure("writes", "writes", "per second"),
    )

    def run(self, context: Context) -> Result:
        data, settings = context.data, context.settings
        keys = concurrent_keys(settings)
        with context.copied() as store:
            context.ready(store).close()

            def reader(number: int) -> Callable[[Stop], int]:
                chunks = slices(read_keys(context, 10 + number, keys), GETS_A_VIEW)

                def loop(stop: Stop) -> int:
                    session = store.session()
                    done = 0
                    for chunk in cycle(chunks):
                        session.refresh()
                        get = session.get
                        for key in chunk:
                            get(key)
                        done += GETS_A_VIEW
                        if stop.now:
                            break
                    session.close()
                    return done

                return loop

            updated = read_keys(context, 20, keys)
            values = data.values(data.records, data.records + keys)
            updates = slices(list(zip(updated, values, strict=True)), PUTS_A_CHUNK)

            def write(stop: Stop) -> int:
                session = store.session()
                put = session.put
                done = 0
                for chunk in cycle(updates):
                    for key, value in chunk:
                        put(key, value)
                    done += PUTS_A_CHUNK
                    if stop.now:
                        break
                session.close()
                return done

            loops = [*(reader(number) for number in range(READERS)), write]
            operations, seconds = run_threads(settings.concurrent_seconds, loops)
        reads, writes = sum(operations[:READERS]), operations[READERS]
        figures = {"reads": reads / seconds, "writes": writes / seconds}
        return Result(figures, reads + writes, seconds)
