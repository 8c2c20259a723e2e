"""The engine's events as spans: checkpoints, and operations and transactions that took long.

The engine notes them with their times; a thread of each database that is observed fetches them now and then.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from opentelemetry import trace
from opentelemetry.context import Context

import lyredb
from lyredb.db.errors import ClosedError, ConfigError
from lyredb.telemetry.catalogue import BATCH_SIZE, COLLECTION_NAME, NAMESPACE, OPERATION_NAME, SYSTEM, SYSTEM_NAME
from lyredb.telemetry.instrumentation import Instrumentation
from lyredb.telemetry.source import SCHEMA_URL, source_of

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

    from lyredb._engine import Engine
    from lyredb.db.database import Database

Value: TypeAlias = str | bool | int | float
# Kind, family, Unix time of the beginning and length in nanoseconds, numbers.
Event: TypeAlias = tuple[str, str | None, int, int, dict[str, int]]

# The engine keeps the 1,024 newest, and seldom are there more than a few a second.
_PAUSE_SECONDS = 1.0

# Of the engine's numbers, those that the semantic conventions name, and those that are a yes or a no.
_CONVENTIONAL = {"records": BATCH_SIZE, "keys": BATCH_SIZE}
_FLAGS = ("committed", "found", "serializable")
# What the engine does by itself, and what is no operation of a client.
_INTERNAL = ("checkpoint", "lost")


class Teller:
    """Makes the spans of one database, one for each tracer provider. It keeps no database alive."""

    def __init__(self, database: Database[Any, Any]) -> None:
        self.database = weakref.ref(database)
        self.ended = threading.Event()
        self._namespace = database.path
        self._telling = threading.Lock()
        # Never changed, only replaced.
        self._tracers: Mapping[Instrumentation, tuple[trace.TracerProvider | None, trace.Tracer]] = {}
        thread = threading.Thread(target=_poll, args=(self,), name="lyredb-telemetry", daemon=True)
        thread.start()

    def add(self, instrumentation: Instrumentation, provider: trace.TracerProvider | None) -> None:
        """Spans go to this tracer provider, None being the program's global one.

        Raises:
            ConfigError: They go to another one, by the same instrumentation.
        """
        if provider is trace.get_tracer_provider():
            provider = None
        known = self._tracers.get(instrumentation)
        if known is None:
            tracer = trace.get_tracer(SYSTEM, lyredb.__version__, provider, SCHEMA_URL)
            self._tracers = {**self._tracers, instrumentation: (provider, tracer)}
            instrumentation.at_end(self._remove)
        elif provider is not None and provider is not known[0]:
            raise ConfigError(
                "the database is instrumented already, with another tracer provider",
                suggestion="close that instrumentation first",
            )

    def _remove(self, instrumentation: Instrumentation) -> None:
        self.tell()
        with _lock:
            self._tracers = {each: tracer for each, tracer in self._tracers.items() if each is not instrumentation}
            if not self._tracers:
                self.ended.set()

    def tell(self) -> bool:
        """Makes spans of the events since the last time; whether the database is still there to have more."""
        database = self.database()
        try:
            if database is None:
                return False
            with self._telling:
                events = _engine_of(database).take_events()
                for tracer in self._all_tracers():
                    for event in events:
                        self._span(tracer, event)
        except ClosedError:
            return False
        return True

    def decision(self, name: str, attributes: Mapping[str, Value], began: int, ended: int) -> None:
        """Makes the span of a decision."""
        for tracer in self._all_tracers():
            told = {**attributes, SYSTEM_NAME: SYSTEM, NAMESPACE: self._namespace}
            tracer.start_span(f"autotune {name}", Context(), attributes=told, start_time=began).end(ended)

    def _all_tracers(self) -> list[trace.Tracer]:
        return [*dict(self._tracers.values()).values()]

    def _span(self, tracer: trace.Tracer, event: Event) -> None:
        kind, family, began, lasted, detail = event
        attributes: dict[str, Value] = {SYSTEM_NAME: SYSTEM, NAMESPACE: self._namespace}
        if kind not in _INTERNAL:
            attributes[OPERATION_NAME] = kind
        if family is not None:
            attributes[COLLECTION_NAME] = family
        for name, number in detail.items():
            attribute = _CONVENTIONAL.get(name, f"lyredb.{kind}.{name}")
            attributes[attribute] = bool(number) if name in _FLAGS else number
        span = tracer.start_span(
            kind if family is None else f"{kind} {family}",
            # No child of whatever the fetching thread, or the one that ends the instrumentation, is doing.
            Context(),
            trace.SpanKind.INTERNAL if kind in _INTERNAL else trace.SpanKind.CLIENT,
            attributes,
            start_time=began,
        )
        span.end(began + lasted)


def _poll(teller: Teller) -> None:
    while not teller.ended.wait(_PAUSE_SECONDS):
        if not teller.tell():
            teller.ended.set()


def _engine_of(database: Database[Any, Any]) -> Engine:
    return database._engine  # pyright: ignore[reportPrivateUsage]


_lock = threading.Lock()
_tellers: list[Teller] = []


def teller_of(database: Database[Any, Any]) -> Teller | None:
    """The one of a database, if that is instrumented."""
    return next((each for each in [*_tellers] if each.database() is database and not each.ended.is_set()), None)


def instrument(
    database: Database[Any, Any],
    meter_provider: MeterProvider | None,
    tracer_provider: trace.TracerProvider | None,
    slow: Any,
) -> Instrumentation:
    """Does what `lyredb.telemetry.instrument` says."""
    if slow is not None:
        _engine_of(database).set_slow(slow)
    instrumentation = source_of(meter_provider).add(database)
    with _lock:
        _tellers[:] = [each for each in _tellers if not each.ended.is_set()]
        teller = teller_of(database)
        if teller is None:
            teller = Teller(database)
            _tellers.append(teller)
        teller.add(instrumentation, tracer_provider)
    return instrumentation
