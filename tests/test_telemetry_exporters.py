"""What Prometheus scrapes and what an OTLP receiver gets is what `db.stats()` tells."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from telemetry_readers import attributes_of, receiving, scrape

import lyredb
from lyredb import telemetry

OPERATIONS = {"get": 3_000, "put": 2_000, "delete": 500, "batch": 10, "scan": 40}


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the telemetry was told: memory and the like are already another a moment later."""
    told: list[Any] = []
    read = lyredb.Database.stats

    def kept(database: Any) -> Any:
        told.append(read(database))
        return told[-1]

    monkeypatch.setattr(lyredb.Database, "stats", kept)
    return told


@pytest.fixture
def worked(db: Any) -> Any:
    """A database whose family of orders has seen every kind of operation."""
    orders = db.family("orders")
    for number in range(2_000):
        orders[b"%05d" % number] = b"value" * 10
    for number in range(3_000):
        orders.get(b"%05d" % number)
    for number in range(500):
        orders.delete(b"%05d" % number)
    for number in range(10):
        orders.write_batch({b"batch-%d-%d" % (number, each): b"" for each in range(5)})
    for _ in range(40):
        assert len(list(orders.scan(limit=20))) == 20
    db.checkpoint()
    return db


def test_a_scrape_has_what_stats_tells(worked: Any, readings: list[Any]) -> None:
    provider = MeterProvider([telemetry.with_histograms(PrometheusMetricReader)()], shutdown_on_exit=False)
    telemetry.instrument(worked, provider)
    samples = scrape()
    stats = readings[-1]
    common = {"db_system_name": "lyredb", "db_namespace": worked.path}
    of_orders = {**common, "db_collection_name": "orders"}

    def one(name: str, labels: dict[str, str]) -> float:
        found = [value for each, value in samples[name] if labels.items() <= each.items()]
        assert len(found) == 1, (name, labels, samples[name])
        return found[0]

    for operation, count in OPERATIONS.items():
        labels = {**of_orders, "db_operation_name": operation}
        assert one("lyredb_operation_count_total", labels) == count
        histogram = stats.family_histograms["orders"][operation]
        if histogram.count:
            assert one("db_client_operation_duration_seconds_count", labels) == histogram.count
            assert one("db_client_operation_duration_seconds_sum", labels) == pytest.approx(histogram.total)
            assert one("db_client_operation_duration_seconds_bucket", {**labels, "le": "+Inf"}) == histogram.count
            assert one("lyredb_operation_sample_count_total", labels) == histogram.count
            assert one("lyredb_operation_sample_time_seconds_total", labels) == pytest.approx(histogram.total)
    for direction, figure in (("read", "bytes_read"), ("write", "bytes_written")):
        labels = {**of_orders, "lyredb_io_direction": direction}
        assert one("lyredb_operation_io_bytes_total", labels) == stats.families["orders"][figure]
    assert one("lyredb_get_count_total", {**of_orders, "lyredb_get_result": "absent"}) == 1_000
    assert one("lyredb_scan_length_count", of_orders) == 40
    assert one("lyredb_scan_length_sum", of_orders) == 40 * 20
    assert one("lyredb_checkpoint_duration_seconds_count", common) == stats.database["checkpoints"]
    assert one("lyredb_memory_limit_bytes", common) == stats.database["memory_budget"]
    used = sum(value for labels, value in samples["lyredb_memory_usage_bytes"] if common.items() <= labels.items())
    assert used == stats.database["memory_used"]
    assert one("lyredb_maintenance_failing", common) == 0
    provider.shutdown()


def test_an_otlp_receiver_gets_what_stats_tells(worked: Any, readings: list[Any]) -> None:
    with receiving() as (receiver, address):
        exporter = OTLPMetricExporter(endpoint=f"http://{address}", insecure=True)
        reader = telemetry.with_histograms(PeriodicExportingMetricReader)(exporter, export_interval_millis=3_600_000)
        provider = MeterProvider([reader], shutdown_on_exit=False)
        telemetry.instrument(worked, provider)
        assert provider.force_flush()
        metrics, stats = receiver.metrics(), readings[-1]
        provider.shutdown()

    counts = metrics["lyredb.operation.count"]
    assert (counts.unit, counts.sum.is_monotonic) == ("{operation}", True)
    assert counts.sum.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
    told = {
        attributes_of(point)["db.operation.name"]: point.as_int
        for point in counts.sum.data_points
        if attributes_of(point)["db.collection.name"] == "orders"
    }
    assert told == OPERATIONS

    durations = metrics["db.client.operation.duration"]
    assert (durations.unit, durations.histogram.aggregation_temporality) == ("s", AGGREGATION_TEMPORALITY_CUMULATIVE)
    for point in durations.histogram.data_points:
        attributes = attributes_of(point)
        assert attributes["db.system.name"] == "lyredb"
        assert attributes["db.namespace"] == worked.path
        histogram = stats.family_histograms[attributes["db.collection.name"]][attributes["db.operation.name"]]
        assert (point.count, sum(point.bucket_counts)) == (histogram.count, histogram.count)
        assert point.sum == pytest.approx(histogram.total)
        assert (point.min, point.max) == (histogram.buckets[0].low, histogram.buckets[-1].high)
        assert 0 < point.start_time_unix_nano <= point.time_unix_nano

    memory = metrics["lyredb.memory.usage"]
    assert (memory.unit, memory.sum.is_monotonic) == ("By", False)
    assert sum(point.as_int for point in memory.sum.data_points) == stats.database["memory_used"]
    synced = metrics["lyredb.version.synced"].gauge.data_points
    assert [point.as_int for point in synced] == [stats.database["version_on_disk"]]
