"""Databases observed through OpenTelemetry.

>>> import lyredb, lyredb.telemetry, tempfile
>>> db = lyredb.open(tempfile.mkdtemp())
>>> with lyredb.telemetry.instrument(db):  # by the program's own meter provider
...     db[b"lyre"] = b"seven strings"
>>> db.close()

OpenTelemetry is imported with the first call of a function here, and needs `pip install 'lyredb[telemetry]'`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, TypeVar

from lyredb.db.errors import ConfigError
from lyredb.telemetry.instrumentation import Instrumentation

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader

    from lyredb.db.database import Database

    R = TypeVar("R", bound=MetricReader)

__all__ = ["Instrumentation", "instrument", "with_histograms"]


def instrument(database: Database[Any, Any], meter_provider: MeterProvider | None = None) -> Instrumentation:
    """Shows a database's counters and gauges to OpenTelemetry, by observable instruments.

    The engine counts; nothing runs in Python but when a metric reader collects, and then `Database.stats` is called
    once for all instruments. docs/telemetry.md lists them.

    A database that is instrumented with the same provider already gives the same object again, and is shown once.

    Args:
        database: As many as there are may be instrumented; each has its folder as its `db.namespace`.
        meter_provider: Where the instruments are made. None: the program's global one, now or when it is set.

    Returns:
        What ends it. Closing the database does too.

    Raises:
        ConfigError: OpenTelemetry is not installed.
        ClosedError: The database is closed.
    """
    source: Any = _needing("lyredb.telemetry.source")
    return source.source_of(meter_provider).add(database)


def with_histograms(reader: type[R]) -> type[R]:
    """A metric reader's class, changed so that it also hands on the engine's histograms.

    `with_histograms(PrometheusMetricReader)()` and `with_histograms(PeriodicExportingMetricReader)(exporter)` are the
    readers, with `db.client.operation.duration` and others. No instrument of OpenTelemetry takes histograms that were
    counted elsewhere, so a reader as it comes from the SDK has only the means: `lyredb.operation.sample.time` by
    `lyredb.operation.sample.count`.

    They count from when the database was opened, whatever temporality the reader prefers.

    Raises:
        ConfigError: The OpenTelemetry SDK is not installed.
    """
    histograms: Any = _needing("lyredb.telemetry.histograms")
    return histograms.joining(reader)


def _needing(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "opentelemetry":
            raise
        raise ConfigError(
            f"this needs the package {error.name.replace('.', '-')}", suggestion="pip install 'lyredb[telemetry]'"
        ) from error
