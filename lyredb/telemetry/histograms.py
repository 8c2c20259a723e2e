"""The engine's histograms, for metric readers of the OpenTelemetry SDK.

No instrument takes a histogram that has been aggregated already, and to record each sample in Python would cost more
than the operations. So they join what a reader has collected on its way to the exporter, at the place that the SDK
gives to subclasses of its readers.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
    MetricReader,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData

from lyredb.db.stats import Histogram
from lyredb.telemetry.catalogue import HISTOGRAMS, NAMESPACE, SYSTEM, HistogramInstrument
from lyredb.telemetry.reading import Reading
from lyredb.telemetry.source import sources

R = TypeVar("R", bound=MetricReader)

# Where the engine's own buckets end, two in each power of two: explicit bounds, as the Prometheus exporter takes no
# exponential histogram, and the engine's buckets are not an exponential histogram's anyway.
_BOUNDS = {
    "s": tuple(
        nanoseconds / 1e9 for exponent in range(7, 34) for nanoseconds in (2**exponent, 3 * 2 ** (exponent - 1))
    ),
    "{row}": tuple(float(2**exponent - 1) for exponent in range(1, 25)),
}


def joining(reader: type[R]) -> type[R]:
    """A subclass of a metric reader's class whose collections have the engine's histograms too."""
    return cast("type[R]", type(reader.__name__, (_Joining, reader), {"__module__": __name__}))


class _Joining:
    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        receive: Any = getattr(super(), "_receive_metrics")  # noqa: B009 (of the class that this is mixed into)
        receive(_joined(metrics_data), timeout_millis, **kwargs)


def _joined(collected: MetricsData) -> MetricsData:
    return MetricsData(
        [
            ResourceMetrics(
                each.resource,
                [_joined_scope(scope) if scope.scope.name == SYSTEM else scope for scope in each.scope_metrics],
                each.schema_url,
            )
            for each in collected.resource_metrics
        ]
    )


def _joined_scope(collected: ScopeMetrics) -> ScopeMetrics:
    points = _number_points(collected.metrics)
    if not points:
        return collected
    start = min(point.start_time_unix_nano or point.time_unix_nano for point in points)
    namespaces = {str((point.attributes or {}).get(NAMESPACE)) for point in points}
    # One for each database: it may be observed by way of several meter providers.
    readings = {
        each.namespace: each for source in sources() for each in source.latest() if each.namespace in namespaces
    }
    added = [_metric(each, list(readings.values()), start) for each in HISTOGRAMS]
    return ScopeMetrics(collected.scope, [*collected.metrics, *(each for each in added if each)], collected.schema_url)


def _number_points(metrics: Sequence[Metric]) -> list[NumberDataPoint]:
    return [point for metric in metrics for point in metric.data.data_points if isinstance(point, NumberDataPoint)]


def _metric(instrument: HistogramInstrument, readings: Sequence[Reading], start: int) -> Metric | None:
    points = list(_points(instrument, readings, start))
    if not points:
        return None
    data = HistogramData(points, AggregationTemporality.CUMULATIVE)
    return Metric(instrument.name, instrument.description, instrument.unit, data)


def _points(instrument: HistogramInstrument, readings: Sequence[Reading], start: int) -> Iterator[HistogramDataPoint]:
    bounds, now = _BOUNDS[instrument.unit], time.time_ns()
    for reading in readings:
        for histogram, attributes in reading.histograms(instrument):
            yield HistogramDataPoint(
                attributes=attributes,
                start_time_unix_nano=start,
                time_unix_nano=now,
                count=histogram.count,
                sum=histogram.total,
                bucket_counts=_counts(histogram, bounds),
                explicit_bounds=bounds,
                min=histogram.buckets[0].low,
                max=histogram.buckets[-1].high,
            )


def _counts(histogram: Histogram, bounds: Sequence[float]) -> list[int]:
    counts = [0] * (len(bounds) + 1)
    for bucket in histogram.buckets:
        counts[bisect.bisect_left(bounds, bucket.high)] += bucket.count
    return counts
