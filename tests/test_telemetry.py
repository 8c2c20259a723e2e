"""Databases observed through OpenTelemetry: what is shown, by which names, and for how long."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.semconv._incubating.attributes import db_attributes
from opentelemetry.semconv._incubating.metrics import db_metrics
from telemetry_readers import Memory, value

import lyredb
from lyredb import telemetry
from lyredb.telemetry import catalogue, page, source
from lyredb.telemetry.catalogue import HISTOGRAMS, INSTRUMENTS, LEFT_OUT

UNIT = re.compile(r"s|By|1|\{[a-z]+\}")
NAME = re.compile(r"[a-z][a-z_]*(\.[a-z][a-z_]*)+")
# What the database semantic conventions name; all else is ours.
CONVENTIONAL = {"db.client.operation.duration"}


def test_names_units_and_descriptions_are_by_the_rules() -> None:
    everything = [*INSTRUMENTS, *HISTOGRAMS]
    names = [each.name for each in everything]
    assert len(set(names)) == len(names)
    for each in everything:
        assert NAME.fullmatch(each.name), each.name
        assert each.name in CONVENTIONAL or each.name.startswith("lyredb."), each.name
        assert UNIT.fullmatch(each.unit), f"{each.name}: {each.unit}"
        assert each.description.endswith("."), each.name
        words = [word for part in each.name.split(".") for word in part.split("_")]
        assert not [word for word in words if word == "total" or re.search(r"[^s]s$", word)], each.name
        # A name is not the namespace of another.
        assert not [other for other in names if other.startswith(f"{each.name}.")], each.name
        attributes = {name for part in each.parts for name in part.attributes}
        assert attributes <= {"db.operation.name"} or all(name.startswith("lyredb.") for name in attributes)
        assert len({tuple(part.attributes.items()) for part in each.parts}) == len(each.parts)
    for each in HISTOGRAMS:
        assert each.name.endswith((".duration", ".length"))


def test_what_is_conventional_is_named_by_the_conventions() -> None:
    assert [catalogue.SYSTEM_NAME, catalogue.NAMESPACE, catalogue.COLLECTION_NAME, catalogue.OPERATION_NAME] == [
        db_attributes.DB_SYSTEM_NAME,
        db_attributes.DB_NAMESPACE,
        db_attributes.DB_COLLECTION_NAME,
        db_attributes.DB_OPERATION_NAME,
    ]
    assert catalogue.BATCH_SIZE == db_attributes.DB_OPERATION_BATCH_SIZE
    assert {db_metrics.DB_CLIENT_OPERATION_DURATION} == CONVENTIONAL
    assert {each.name for each in HISTOGRAMS if each.unit == "s"} >= CONVENTIONAL


def test_every_figure_is_shown_or_left_out_for_a_reason(db: Any) -> None:
    db[b"a"] = b"1"
    stats, snapshot = db.stats(), db.snapshot()
    with snapshot:
        figures = {*db.stats().database, *stats.families["default"]}
    shown = {figure for each in INSTRUMENTS for part in each.parts for figure in part.figures}
    assert figures - shown - LEFT_OUT.keys() == set()
    histograms = {*stats.database_histograms, *stats.family_histograms["default"]}
    assert histograms == {figure for each in HISTOGRAMS for part in each.parts for figure in part.figures}
    assert not shown & LEFT_OUT.keys()


def test_what_a_reader_gets_is_what_the_catalogue_says(db: Any) -> None:
    memory = Memory()
    telemetry.instrument(db, memory.provider)
    for number in range(2_000):
        db[b"%d" % number] = b"value"
        assert db[b"%d" % number] == b"value"
    list(db.scan())
    db.checkpoint()
    collected = memory.collect()
    without_points = {each.name for each in INSTRUMENTS} - collected.keys()
    assert without_points == {"lyredb.snapshot.age"}, "nothing is open"
    for each in INSTRUMENTS:
        if each.name not in without_points:
            metric = collected[each.name]
            assert (metric.unit, metric.description) == (each.unit, each.description)
            kind = type(metric.data).__name__
            assert kind == ("Gauge" if each.kind == "gauge" else "Sum")
            if kind == "Sum":
                assert metric.data.is_monotonic == (each.kind == "counter")  # type: ignore[union-attr]
    assert {"db.client.operation.duration", "lyredb.scan.length"} <= collected.keys()
    with db.snapshot():
        (age,) = memory.points("lyredb.snapshot.age")
        assert 0 <= age.value < 60


def test_histograms_have_the_counts_of_the_engine(db: Any) -> None:
    memory = Memory()
    telemetry.instrument(db, memory.provider)
    db.write_batch({b"%05d" % number: b"" for number in range(3_000)})
    lengths = [1, 1, 3, 4, 7, 8, 100, 1_023, 1_024, 3_000]
    for length in lengths:
        list(db.scan(limit=length))
    (point,) = memory.points("lyredb.scan.length")
    assert (point.count, point.sum) == (len(lengths), sum(lengths))
    assert (point.min, point.max >= 3_000) == (1, True)
    low = 0.0
    for bound, count in zip(point.explicit_bounds, point.bucket_counts, strict=False):
        assert count == sum(low < length <= bound for length in lengths), bound
        low = bound
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    assert "db.client.operation.duration" not in Memory(histograms=False).collect()


def test_stats_are_read_once_in_a_collection(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    read = lyredb.Database.stats

    def counted(database: Any) -> Any:
        calls.append(database)
        return read(database)

    monkeypatch.setattr(lyredb.Database, "stats", counted)
    readers = [InMemoryMetricReader(), InMemoryMetricReader()]
    telemetry.instrument(db, MeterProvider(readers, shutdown_on_exit=False))
    for collections in range(1, 4):
        for index, reader in enumerate(readers):
            assert reader.get_metrics_data() is not None
            assert len(calls) == 2 * (collections - 1) + index + 1


def test_families_come_and_go(db: Any) -> None:
    memory = Memory()
    telemetry.instrument(db, memory.provider)
    assert memory.families() == ["default"]
    db.family("orders")[b"a"] = b"1"
    assert memory.families() == ["default", "orders"]
    db.rename_family("orders", "sales")
    points = memory.points("lyredb.operation.count")
    assert value(points, db__collection__name="sales", db__operation__name="put") == 1
    db.drop_family("sales")
    assert memory.families() == ["default"]
    db.family("sales")
    points = memory.points("lyredb.operation.count")
    assert value(points, db__collection__name="sales", db__operation__name="put") == 0


def test_two_databases_are_told_apart(tmp_path: Path) -> None:
    memory = Memory()
    with lyredb.open(tmp_path / "one") as one, lyredb.open(tmp_path / "two") as two:
        telemetry.instrument(one, memory.provider)
        telemetry.instrument(two, memory.provider)
        one[b"a"] = b"1"
        one[b"b"] = b"2"
        two[b"a"] = b"1"
        points = memory.points("lyredb.operation.count")
        assert value(points, db__namespace=one.path, db__operation__name="put") == 2
        assert value(points, db__namespace=two.path, db__operation__name="put") == 1
        list(two.scan())
        assert [each.attributes["db.namespace"] for each in memory.points("lyredb.scan.length")] == [two.path]


def test_a_closed_database_is_shown_no_more(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory()
    with lyredb.open(path) as db:
        instrumentation = telemetry.instrument(db, memory.provider)
        list(db.scan())
        assert memory.namespaces() == [db.path]
        assert memory.points("lyredb.scan.length")
    assert memory.namespaces() == []
    assert memory.points("lyredb.scan.length") == []
    instrumentation.close()
    with pytest.raises(lyredb.ClosedError):
        telemetry.instrument(db, memory.provider)
    with lyredb.open(path) as again:
        assert memory.namespaces() == []
        telemetry.instrument(again, memory.provider)
        assert memory.namespaces() == [again.path]
    assert caplog.record_tuples == []


def test_a_database_that_the_program_drops_is_not_kept(path: Path) -> None:
    memory = Memory()
    db = lyredb.open(path, tiering=False)
    instrumentation = telemetry.instrument(db, memory.provider)
    assert memory.namespaces() == [db.path]
    del db
    gc.collect()
    assert instrumentation.database is None
    assert memory.namespaces() == []


def test_a_provider_that_the_program_drops_is_not_kept(db: Any) -> None:
    memory = Memory()
    telemetry.instrument(db, memory.provider)
    gc.collect()
    before = len(source.sources())
    del memory
    gc.collect()
    assert len(source.sources()) == before - 1


def test_instrumenting_ends_when_it_is_told_to(db: Any) -> None:
    memory = Memory()
    with telemetry.instrument(db, memory.provider) as instrumentation:
        assert (instrumentation.database, instrumentation.namespace) == (db, db.path)
        assert memory.namespaces() == [db.path]
    assert memory.collect() == {}
    instrumentation.uninstrument()
    telemetry.instrument(db, memory.provider)
    assert memory.namespaces() == [db.path]


def test_instrumenting_twice_shows_a_database_once(db: Any, caplog: pytest.LogCaptureFixture) -> None:
    memory, other = Memory(), Memory()
    db[b"a"] = b"1"
    first = telemetry.instrument(db, memory.provider)
    assert telemetry.instrument(db, memory.provider) is first
    elsewhere = telemetry.instrument(db, other.provider)
    assert elsewhere is not first
    for each in (memory, other):
        assert value(each.points("lyredb.operation.count"), db__operation__name="put") == 1
    first.close()
    assert (memory.namespaces(), other.namespaces()) == ([], [db.path])
    assert caplog.record_tuples == []


def test_a_family_or_a_figure_more_breaks_no_collection(db: Any, caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory()
    telemetry.instrument(db, memory.provider)
    stop = threading.Event()

    def churn() -> None:
        number = 0
        while not stop.is_set():
            db.family(f"family-{number % 3}")[b"a"] = b"1"
            db.drop_family(f"family-{number % 3}")
            number += 1

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(50):
            assert "default" in memory.families()
    finally:
        stop.set()
        thread.join()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


GLOBAL = """
import sys, tempfile
import lyredb
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
from lyredb import telemetry
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
early, late = lyredb.open(tempfile.mkdtemp()), lyredb.open(tempfile.mkdtemp())
telemetry.instrument(early)
assert not [name for name in sys.modules if name.startswith("opentelemetry.sdk")]

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.semconv._incubating.attributes import db_attributes
from opentelemetry.semconv._incubating.metrics import db_metrics
reader = telemetry.with_histograms(InMemoryMetricReader)()
metrics.set_meter_provider(MeterProvider([reader]))
telemetry.instrument(late)
telemetry.instrument(late, metrics.get_meter_provider())
list(late.scan())
(resource,) = reader.get_metrics_data().resource_metrics
(scope,) = resource.scope_metrics
points = {metric.name: metric.data.data_points for metric in scope.metrics}
assert [point.attributes["db.namespace"] for point in points["lyredb.memory.limit"]] == [early.path, late.path]
assert [point.attributes["db.namespace"] for point in points["lyredb.scan.length"]] == [late.path]
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program], capture_output=True, text=True, check=False
    )


def test_the_global_provider_may_be_set_later() -> None:
    done = run(GLOBAL)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_shows_nothing_of_its_parents_database() -> None:
    done = run("""
import os, tempfile
import lyredb
from lyredb import telemetry
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.semconv._incubating.attributes import db_attributes
from opentelemetry.semconv._incubating.metrics import db_metrics
reader = InMemoryMetricReader()
telemetry.instrument(db := lyredb.open(tempfile.mkdtemp()), MeterProvider([reader]))
assert reader.get_metrics_data() is not None
child = os.fork()
if child == 0:
    os._exit(0 if reader.get_metrics_data() is None else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert reader.get_metrics_data() is not None
""")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("missing", "package"), [("opentelemetry", "opentelemetry-api"), ("opentelemetry.sdk", "opentelemetry-sdk")]
)
def test_what_is_missing_is_named(missing: str, package: str, monkeypatch: pytest.MonkeyPatch, db: Any) -> None:
    def absent(name: str) -> object:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr(importlib, "import_module", absent)
    told = rf"needs the package {package}; pip install 'lyredb\[telemetry\]'"
    with pytest.raises(lyredb.ConfigError, match=told):
        telemetry.instrument(db)
    with pytest.raises(lyredb.ConfigError, match=told):
        telemetry.with_histograms(InMemoryMetricReader)


def test_the_page_lists_all_instruments() -> None:
    text = (Path(__file__).parent.parent / "docs" / "telemetry.md").read_text()
    assert page.updated(text) == text, "run `make docs`"
