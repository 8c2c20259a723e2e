"""The observable instruments of one meter provider, for all databases that are instrumented with it.

An instrument cannot be taken back, and one provider makes it only once: so it is made with the first database, and its
callback asks who is there.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics

import lyredb
from lyredb.db.errors import ClosedError
from lyredb.telemetry.catalogue import INSTRUMENTS, SYSTEM, Instrument
from lyredb.telemetry.instrumentation import Instrumentation
from lyredb.telemetry.reading import Reading

if TYPE_CHECKING:
    from lyredb.db.database import Database

# Of the semantic conventions in which those for databases became stable.
SCHEMA_URL = "https://opentelemetry.io/schemas/1.33.0"


class Source:
    """Reads the databases of one meter provider, each once in a collection."""

    def __init__(self, provider: metrics.MeterProvider, *, is_global: bool) -> None:
        self.is_global = is_global
        self._lock = threading.Lock()
        self._observed: list[Instrumentation] = []
        self._readings: list[Reading] = []
        # The instruments that have shown `_readings`: one that asks again does so for another collection.
        self._shown: set[str] = {each.name for each in INSTRUMENTS}
        meter = provider.get_meter(SYSTEM, lyredb.__version__, schema_url=SCHEMA_URL)
        for instrument in INSTRUMENTS:
            self._make(meter, instrument)

    def _make(self, meter: metrics.Meter, instrument: Instrument) -> None:
        create = {
            "counter": meter.create_observable_counter,
            "up-down counter": meter.create_observable_up_down_counter,
            "gauge": meter.create_observable_gauge,
        }[instrument.kind]
        create(
            instrument.name,
            callbacks=[partial(self._observe, instrument)],
            unit=instrument.unit,
            description=instrument.description,
        )

    def add(self, database: Database[Any, Any]) -> Instrumentation:
        """Begins to observe a database, or goes on to."""
        if database.closed:
            raise ClosedError("the database is closed")
        with self._lock:
            for each in self._observed:
                if each.database is database:
                    return each
            added = Instrumentation(database)
            added.at_end(self.remove)
            self._observed.append(added)
            return added

    def remove(self, instrumentation: Instrumentation) -> None:
        """Observes a database no longer."""
        with self._lock:
            if instrumentation in self._observed:
                self._observed.remove(instrumentation)
                self._readings = [each for each in self._readings if each.namespace != instrumentation.namespace]

    def latest(self) -> list[Reading]:
        """What the last collection read."""
        with self._lock:
            return self._readings

    def _observe(self, instrument: Instrument, _: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        with self._lock:
            if instrument.name in self._shown:
                # Forgotten first: if reading raises, nothing old is shown in its place.
                self._readings = []
                self._readings = list(self._read())
                self._shown.clear()
            self._shown.add(instrument.name)
            readings = self._readings
        return [
            metrics.Observation(value, attributes)
            for reading in readings
            for value, attributes in reading.points(instrument)
        ]

    def _read(self) -> Iterator[Reading]:
        for each in [*self._observed]:
            database = each.database
            try:
                if database is not None:
                    yield Reading(each.namespace, database.stats())
                    continue
            except ClosedError:
                # Closed, or of the process that this one was forked from.
                pass
            self._observed.remove(each)


_lock = threading.Lock()
_sources: weakref.WeakKeyDictionary[metrics.MeterProvider, Source] = weakref.WeakKeyDictionary()


def source_of(provider: metrics.MeterProvider | None) -> Source:
    """The source of a meter provider; None: of the global one."""
    current = metrics.get_meter_provider()
    chosen = current if provider is None else provider
    is_global = chosen is current
    with _lock:
        source = _sources.get(chosen)
        if source is None and is_global:
            # What was made before the program set its global provider has become that provider's.
            source = next((each for each in _sources.values() if each.is_global), None)
        if source is None:
            source = Source(chosen, is_global=is_global)
        _sources[chosen] = source
        return source


def sources() -> list[Source]:
    """Those of all meter providers."""
    with _lock:
        return [*dict.fromkeys(_sources.values())]
