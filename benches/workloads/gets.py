"""Reading single records."""

from __future__ import annotations

from abc import abstractmethod

from ..data import slices
from ..settings import Settings
from .base import Context, Measure, Result, Workload, timed

CHUNK_KEYS = 2_000
MULTI_GET_KEYS = 100


class _Gets(Workload):
    measures = (Measure("get", "get", "ns"),)
    present = True

    @abstractmethod
    def keys(self, context: Context) -> list[bytes]: ...

    def run(self, context: Context) -> Result:
        chunks = slices(self.keys(context), CHUNK_KEYS)
        with context.loaded() as store:
            session = context.ready(store)

            def body(keys: list[bytes]) -> None:
                get = session.get
                for key in keys:
                    get(key)

            time = timed(chunks, body, context.settings.seconds)
            session.close()
        return Result({"get": time.ns}, time.operations, time.seconds)


class GetUniform(_Gets):
    name = "get_uniform"
    title = "get, uniform, in memory"

    def keys(self, context: Context) -> list[bytes]:
        data = context.data
        return data.keys(data.uniform(context.settings.operations, pattern=1))


class GetZipf(_Gets):
    name = "get_zipf"
    title = "get, Zipf 0.99"

    def keys(self, context: Context) -> list[bytes]:
        data = context.data
        return data.keys(data.zipf(context.settings.operations, pattern=2))


class GetAbsent(_Gets):
    name = "get_absent"
    title = "get, absent keys"

    def keys(self, context: Context) -> list[bytes]:
        return context.data.absent_keys(context.settings.operations)


class MultiGet(Workload):
    name = "multi_get"
    title = "multi_get of 100, per key"
    measures = (Measure("get", "per key", "ns"),)

    def run(self, context: Context) -> Result:
        data, settings = context.data, context.settings
        keys = data.keys(data.uniform(settings.operations, pattern=3))
        chunks = slices(slices(keys, MULTI_GET_KEYS), 10)
        with context.loaded() as store:
            session = context.ready(store)
            expected = list(map(session.get, keys[:MULTI_GET_KEYS]))
            if list(session.multi_get(keys[:MULTI_GET_KEYS])) != expected:
                raise AssertionError(f"{store.name}: multi_get and get disagree")

            def body(groups: list[list[bytes]]) -> None:
                multi_get = session.multi_get
                for group in groups:
                    multi_get(group)

            time = timed(chunks, body, settings.seconds)
            session.close()
        operations = time.operations * MULTI_GET_KEYS
        return Result({"get": 1e9 * time.seconds / operations}, operations, time.seconds)


def read_keys(context: Context, pattern: int, count: int) -> list[bytes]:
    """Keys of loaded records for readers that run for a time: enough to go around."""
    return context.data.keys(context.data.uniform(count, pattern))


def concurrent_keys(settings: Settings) -> int:
    return min(settings.operations, 200_000)
