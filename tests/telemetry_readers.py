"""Where telemetry arrives: as the SDK hands it on in memory, scraped by HTTP, and in a gRPC receiver."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
import prometheus_client
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric
from prometheus_client.parser import text_string_to_metric_families

from lyredb import telemetry

Attributes = dict[str, str]


class Memory:
    """A meter provider whose metrics stay in the process."""

    def __init__(self, *, histograms: bool = True) -> None:
        kind = telemetry.with_histograms(InMemoryMetricReader) if histograms else InMemoryMetricReader
        self.reader = kind()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def collect(self) -> dict[str, Metric]:
        collected = self.reader.get_metrics_data()
        if collected is None:
            return {}
        metrics = [
            metric
            for resource in collected.resource_metrics
            for scope in resource.scope_metrics
            if scope.scope.name == "lyredb"
            for metric in scope.metrics
        ]
        assert len({metric.name for metric in metrics}) == len(metrics)
        return {metric.name: metric for metric in metrics}

    def points(self, name: str) -> list[Any]:
        metric = self.collect().get(name)
        return [] if metric is None else [*metric.data.data_points]

    def namespaces(self) -> list[str]:
        return sorted(point.attributes["db.namespace"] for point in self.points("lyredb.memory.limit"))

    def families(self) -> list[str]:
        return sorted(point.attributes["db.collection.name"] for point in self.points("lyredb.batch.record.count"))


def value(points: list[Any], **attributes: str) -> Any:
    """Of the one point that has these attributes; dots of their names are written as two underscores."""
    wanted = {name.replace("__", "."): text for name, text in attributes.items()}
    found = [each for each in points if wanted.items() <= each.attributes.items()]
    assert len(found) == 1, (wanted, [dict(each.attributes) for each in points])
    return found[0].value


def scrape() -> dict[str, list[tuple[Attributes, float]]]:
    """What a scraper gets by HTTP: samples by name."""
    server, thread = prometheus_client.start_http_server(0, addr="127.0.0.1")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=30) as response:
            assert response.status == 200
            text = response.read().decode()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    samples: dict[str, list[tuple[Attributes, float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return samples


class Keeper:
    """A service of an OTLP receiver, which keeps what it is sent."""

    response: type[Any]

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def Export(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return self.response()


class Metrics(Keeper, MetricsServiceServicer):
    response = ExportMetricsServiceResponse


class Traces(Keeper, TraceServiceServicer):
    response = ExportTraceServiceResponse


class Receiver:
    """What an OTLP receiver was sent of LyreDB's."""

    def __init__(self, server: grpc.Server) -> None:
        self._metrics, self._traces = Metrics(), Traces()
        add_MetricsServiceServicer_to_server(self._metrics, server)
        add_TraceServiceServicer_to_server(self._traces, server)

    def metrics(self) -> dict[str, Any]:
        """Of the last request, by name."""
        scopes = [scope for resource in self._metrics.requests[-1].resource_metrics for scope in resource.scope_metrics]
        return {metric.name: metric for scope in scopes if scope.scope.name == "lyredb" for metric in scope.metrics}

    def spans(self) -> list[Any]:
        """Of all requests."""
        resources = [resource for request in self._traces.requests for resource in request.resource_spans]
        scopes = [scope for resource in resources for scope in resource.scope_spans]
        return [span for scope in scopes if scope.scope.name == "lyredb" for span in scope.spans]


@contextmanager
def receiving() -> Iterator[tuple[Receiver, str]]:
    """A receiver, and the address at which it listens."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    receiver = Receiver(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield receiver, f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def attributes_of(point: Any) -> Attributes:
    """Of a point as OTLP sends it."""
    return {each.key: each.value.string_value for each in point.attributes}
