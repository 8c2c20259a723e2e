"""Events of the engine as spans."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from telemetry_readers import attributes_of, receiving

import lyredb
from lyredb import telemetry
from lyredb.telemetry import spans


class Traces:
    """A tracer provider whose spans stay in the process."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def spans(self) -> list[ReadableSpan]:
        return [*self._exporter.get_finished_spans()]

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans() if span.name == name]

    def names(self) -> list[str]:
        return [span.name for span in self.spans()]


@pytest.fixture
def traces() -> Iterator[Traces]:
    made = Traces()
    yield made
    made.provider.shutdown()


@pytest.fixture
def meters() -> Iterator[MeterProvider]:
    made = MeterProvider(shutdown_on_exit=False)
    yield made
    made.shutdown()


def test_a_checkpoint_is_a_span_with_its_own_times(db: Any, traces: Traces, meters: MeterProvider) -> None:
    around = traces.provider.get_tracer("test").start_as_current_span("around")
    with around, telemetry.instrument(db, meters, traces.provider):
        db[b"a"] = b"1"
        before = time.time_ns()
        db.checkpoint()
        after = time.time_ns()
    (span,) = traces.named("checkpoint")
    assert span.start_time is not None
    assert span.end_time is not None
    # The engine's clock of times and that of its beginnings are two.
    assert before - 5_000_000 <= span.start_time < span.end_time <= after + 5_000_000
    assert span.parent is None
    assert span.kind == SpanKind.INTERNAL
    attributes = dict(span.attributes or {})
    written = attributes.pop("lyredb.checkpoint.pages_written"), attributes.pop("lyredb.checkpoint.bytes_written")
    assert all(isinstance(each, int) and each > 0 for each in written)
    assert attributes.pop("lyredb.checkpoint.version")
    assert attributes == {"db.system.name": "lyredb", "db.namespace": db.path}
    assert span.instrumentation_scope is not None
    assert (span.instrumentation_scope.name, span.instrumentation_scope.version) == ("lyredb", lyredb.__version__)


def test_what_took_long_is_a_span(db: Any, traces: Traces, meters: MeterProvider) -> None:
    orders = db.family("orders")
    with telemetry.instrument(db, meters, traces.provider, slow=0.5):
        orders.write_batch({b"quick": b""})
        with db.transaction() as transaction:
            transaction.family("orders")[b"a"] = b"1"
            transaction.family("orders")[b"b"] = b"1"
            time.sleep(0.6)
        db.transaction().rollback()
    (span,) = traces.named("transaction")
    assert span.attributes == {
        "db.system.name": "lyredb",
        "db.namespace": db.path,
        "db.operation.name": "transaction",
        "lyredb.transaction.committed": True,
        "lyredb.transaction.writes": 2,
        "lyredb.transaction.serializable": False,
    }
    assert span.kind == SpanKind.CLIENT
    assert 600_000_000 <= (span.end_time or 0) - (span.start_time or 0) < 60_000_000_000
    assert "batch orders" not in traces.names()
    with telemetry.instrument(db, meters, traces.provider, slow=1e-9):
        orders.write_batch({b"a": b"", b"b": b"", b"c": b""})
    (span,) = traces.named("batch orders")
    attributes = span.attributes or {}
    assert (attributes["db.collection.name"], attributes["db.operation.name"]) == ("orders", "batch")
    assert attributes["db.operation.batch.size"] == 3


def test_spans_come_without_being_asked_for(
    db: Any, traces: Traces, meters: MeterProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "_PAUSE_SECONDS", 0.01)
    with telemetry.instrument(db, meters, traces.provider):
        db[b"a"] = b"1"
        db.checkpoint()
        deadline = time.monotonic() + 30
        while not traces.named("checkpoint"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert len(traces.named("checkpoint")) == 1


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "lyredb-telemetry"]


def test_threads_end_with_the_instrumentation_and_with_the_database(
    tmp_path: Path, traces: Traces, meters: MeterProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "_PAUSE_SECONDS", 0.01)
    deadline = time.monotonic() + 30

    def wait_for(count: int) -> None:
        while len(threads()) != count:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    wait_for(0)
    with lyredb.open(tmp_path / "a") as a, lyredb.open(tmp_path / "b") as b:
        telemetry.instrument(a, meters, traces.provider)
        of_b = telemetry.instrument(b, meters, traces.provider)
        telemetry.instrument(b, meters)
        assert len(threads()) == 2
        of_b.close()
        wait_for(1)
        telemetry.instrument(b, meters, traces.provider)
        wait_for(2)
    wait_for(0)
    assert spans.teller_of(a) is None


def test_each_tracer_provider_gets_a_span_once(db: Any, traces: Traces, meters: MeterProvider) -> None:
    other_traces, other_meters = Traces(), MeterProvider(shutdown_on_exit=False)
    with (
        telemetry.instrument(db, meters, traces.provider) as first,
        telemetry.instrument(db, other_meters, other_traces.provider),
    ):
        assert telemetry.instrument(db, meters, traces.provider) is first
        assert telemetry.instrument(db, meters) is first
        with pytest.raises(lyredb.ConfigError, match="instrumented already, with another tracer provider"):
            telemetry.instrument(db, meters, other_traces.provider)
        third = telemetry.instrument(db, MeterProvider(shutdown_on_exit=False), traces.provider)
        db[b"a"] = b"1"
        db.checkpoint()
        third.close()
        first.close()
        db[b"a"] = b"2"
        db.checkpoint()
    assert (len(traces.named("checkpoint")), len(other_traces.named("checkpoint"))) == (1, 2)


def test_events_that_were_lost_are_told(db: Any, traces: Traces, meters: MeterProvider) -> None:
    with telemetry.instrument(db, meters, traces.provider, slow=1e-9):
        for number in range(1_500):
            db.write_batch({b"%d" % number: b""})
    lost = [int((span.attributes or {})["lyredb.lost.events"]) for span in traces.named("lost")]  # type: ignore[arg-type]
    assert lost
    # Checkpoints that came by themselves may be among them.
    count = sum(lost) + len(traces.spans()) - len(lost)
    assert 1_500 <= count <= 1_500 + db.stats().database["checkpoints"]


def test_decisions_are_spans_of_instrumented_databases(db: Any, traces: Traces, meters: MeterProvider) -> None:
    telemetry.decided(db, "switch", {"lyredb.autotune.preset": "olap"})
    with telemetry.instrument(db, meters, traces.provider):
        telemetry.decided(db, "trial", {"lyredb.autotune.ratio": 1.07}, began_ns=1_000, ended_ns=5_000)
        before = time.time_ns()
        telemetry.decided(db, "rollback", {"lyredb.autotune.preset": "oltp"})
    telemetry.decided(db, "switch", {})
    assert traces.names() == ["autotune trial", "autotune rollback"]
    (trial,), (rollback,) = traces.named("autotune trial"), traces.named("autotune rollback")
    assert (trial.start_time, trial.end_time) == (1_000, 5_000)
    common = {"db.system.name": "lyredb", "db.namespace": db.path}
    assert trial.attributes == {**common, "lyredb.autotune.ratio": 1.07}
    assert rollback.start_time == rollback.end_time
    assert before <= (rollback.end_time or 0) <= time.time_ns()


def test_an_otlp_receiver_gets_spans(db: Any, meters: MeterProvider) -> None:
    with receiving() as (receiver, address):
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=f"http://{address}", insecure=True)))
        with telemetry.instrument(db, meters, provider):
            db[b"a"] = b"1"
            db.checkpoint()
        provider.shutdown()
        (span,) = [span for span in receiver.spans() if span.name == "checkpoint"]
    assert attributes_of(span)["db.namespace"] == db.path
    assert 0 < span.start_time_unix_nano < span.end_time_unix_nano


def test_the_page_has_all_events_and_their_attributes(path: Path, traces: Traces, meters: MeterProvider) -> None:
    with lyredb.open(path) as db:
        db.write_batch({b"%05d" % number: b"x" * 100 for number in range(10_000)})
    with lyredb.open(path) as db, telemetry.instrument(db, meters, traces.provider, slow=1e-9):
        assert db[b"00001"]
        db.multi_get([b"05000", b"07000"])
        db[b"03000"] = b"1"
        del db[b"09000"]
        db.write_batch({b"a": b"1"})
        list(db.scan())
        db.transaction().rollback()
        db.checkpoint()
        for number in range(2_000):
            db.write_batch({b"%d" % number: b""})
        db.transaction().rollback()
    with lyredb.open(path) as db, telemetry.instrument(db, meters, traces.provider, slow=1e-9):
        assert db[b"00001"]
        db.multi_get([b"05000", b"07000"])
        db[b"03000"] = b"1"
        del db[b"08000"]
        list(db.scan())
        db.checkpoint()
    told = {(span.name.partition(" ")[0], name) for span in traces.spans() for name in span.attributes or {}}
    kinds = {"checkpoint", "transaction", "get", "multi_get", "put", "delete", "batch", "scan_fetch", "lost"}
    assert {kind for kind, _ in told} == kinds
    page = (Path(__file__).parent.parent / "docs" / "telemetry.md").read_text()
    for kind, name in told:
        assert f"| `{kind}` |" in page, kind
        assert f"`{name}`" in page, f"{kind}: {name}"


@pytest.mark.parametrize("slow", [0, -1])
def test_slow_has_to_be_a_time(db: Any, traces: Traces, meters: MeterProvider, slow: float) -> None:
    with pytest.raises(ValueError, match="positive number of seconds"):
        telemetry.instrument(db, meters, traces.provider, slow=slow)
    assert spans.teller_of(db) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_may_leave_the_block() -> None:
    program = """
import os, tempfile
import lyredb
from lyredb import telemetry
db = lyredb.open(tempfile.mkdtemp())
with telemetry.instrument(db):
    child = os.fork()
if child == 0:
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_decision_may_come_while_telemetry_is_being_imported(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lyredb.telemetry.spans", ModuleType("lyredb.telemetry.spans"))
    telemetry.decided(db, "switch", {})
