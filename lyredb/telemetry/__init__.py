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
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from lyredb.db.errors import ConfigError
from lyredb.telemetry.instrumentation import Instrumentation

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.trace import TracerProvider

    from lyredb.db.database import Database

    R = TypeVar("R", bound=MetricReader)

__all__ = ["Instrumentation", "decided", "instrument", "with_histograms"]


def instrument(
    database: Database[Any, Any],
    meter_provider: MeterProvider | None = None,
    tracer_provider: TracerProvider | None = None,
    *,
    slow: float | timedelta | None = None,
) -> Instrumentation:
    """Shows a database's counters and gauges to OpenTelemetry by observable instruments, and its events as spans.

    The engine counts; nothing runs in Python but when a metric reader collects, and then `Database.stats` is called
    once for all instruments. Events are checkpoints, and operations and transactions that took long: a thread fetches
    them every second. docs/telemetry.md lists all.

    A database that is instrumented with the same meter provider already gives the same object again, and is shown once.

    Args:
        database: As many as there are may be instrumented; each has its folder as its `db.namespace`.
        meter_provider: Where the instruments are made. None: the program's global one, now or when it is set.
        tracer_provider: Where spans are made. None: the same.
        slow: Seconds from which on an operation or a transaction is an event; None leaves it as it is, at 0.1 unless
            this changed it before.

    Returns:
        What ends it. Closing the database does too, but its last events make no spans then.

    Raises:
        ConfigError: OpenTelemetry is not installed, or the database is instrumented with the same meter provider and
            another tracer provider.
        ClosedError: The database is closed.
        ValueError: `slow` is not above 0.
    """
    spans: Any = _needing("lyredb.telemetry.spans")
    return spans.instrument(database, meter_provider, tracer_provider, slow)


def decided(
    database: Database[Any, Any],
    name: str,
    attributes: Mapping[str, str | bool | int | float],
    *,
    began_ns: int | None = None,
    ended_ns: int | None = None,
) -> None:
    """Shows a decision of automatic tuning as a span `autotune NAME`; does nothing if the database is not instrumented.

    Args:
        database: The one that was tuned.
        name: What was decided: "switch", "trial", "rollback", ...
        attributes: What was seen, what was changed, and what came of it, under names of the caller's.
        began_ns: Nanoseconds since 1970. None: when it ended.
        ended_ns: The same. None: now.
    """
    # What is not imported, or is just being imported by another thread, has instrumented nothing.
    teller_of: Any = getattr(sys.modules.get("lyredb.telemetry.spans"), "teller_of", None)
    teller = teller_of and teller_of(database)
    if teller:
        ended = time.time_ns() if ended_ns is None else ended_ns
        teller.decision(name, attributes, ended if began_ns is None else began_ns, ended)


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
    except ImportError as error:
        top, _, below = (error.name or "").partition(".")
        if top != "opentelemetry":
            raise
        package = "opentelemetry-sdk" if below.startswith("sdk") else "opentelemetry-api"
        raise ConfigError(f"this needs the package {package}", suggestion="pip install 'lyredb[telemetry]'") from error
