"""`lyredb.open(..., autotune=True)`, on the real engine."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import output

import lyredb
from lyredb.autotune import KINDS, Decision, Status
from lyredb.autotune.features import NAMES
from lyredb.autotune.memory import Memory, Remembered, into_note

RECORDS = 60_000


def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def fill(family: Any) -> None:
    family.write_batch([(b"%08d" % number, b"v" * 90) for number in range(RECORDS)])


class Work:
    """A thread that scans long ranges of one family, or reads and writes another by key."""

    def __init__(self, db: Any, *kinds: str) -> None:
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=getattr(self, kind), args=(db.family(kind),)) for kind in kinds]

    def reports(self, family: Any) -> None:
        rng = random.Random(1)
        while not self._ended.is_set():
            start = rng.randrange(RECORDS // 2)
            family.scan(b"%08d" % start, b"%08d" % (start + 20_000)).values().to_numpy()

    def orders(self, family: Any) -> None:
        rng = random.Random(2)
        while not self._ended.is_set():
            for _ in range(4):
                family.get(b"%08d" % rng.randrange(RECORDS))
            family[b"%08d" % rng.randrange(RECORDS)] = b"w" * 90

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()


def test_families_are_recognised_and_tuned_apart(path: Path) -> None:
    with lyredb.open(path, autotune=True) as db:
        fill(db.family("reports"))
        fill(db.family("orders"))

        def recognised(family: str, kind: str) -> bool:
            status = db.autotune.status()
            assert status.error is None
            return family in status.families and status.families[family].kind == kind

        with Work(db, "reports", "orders"):
            until(lambda: recognised("reports", "olap") and recognised("orders", "oltp"))
            until(lambda: any("leaf_bytes" in each.changed for each in db.autotune.history("reports")))
        for decision in db.autotune.history("orders"):
            assert "leaf_bytes" not in decision.changed or decision.changed["leaf_bytes"][1] <= 16 << 10
        status = db.autotune.status()
        assert isinstance(status, Status)
        assert status.state == "running"
        assert json.loads(json.dumps(status.as_dict()))["families"]["orders"]["kind"] == "oltp"
        assert set(status.families["orders"].probabilities) == set(KINDS)
        history = db.autotune.history()
        assert [each.number for each in history] == sorted({each.number for each in history})
        assert all(isinstance(each, Decision) and each.text and json.dumps(each.as_dict()) for each in history)
        found = next(each for each in history if each.kind == "recognised")
        assert found.text in db.autotune.explain(found.number)
        with pytest.raises(LookupError):
            db.autotune.explain(10**9)
        assert db.check().ok


def test_it_can_be_paused_frozen_and_rolled_back(path: Path) -> None:
    with lyredb.open(path, autotune=True) as db:
        fill(db.family("reports"))
        tuner = db.autotune
        with Work(db, "reports"):
            until(lambda: any(each.kind == "trial" for each in tuner.history("reports")))
            tuner.pause()
            assert tuner.status().state == "paused"
            assert db.settings("reports")["leaf_bytes"] == 8 << 10
            windows = tuner.status().windows
            # Two windows and more would go by if it were not paused.
            time.sleep(0.6)
            assert tuner.status().windows == windows
            tuner.resume()
            until(lambda: tuner.status().windows > windows)
            tuner.freeze()
            assert tuner.status().state == "frozen"
            numbers = [each.number for each in tuner.history("reports")]
            until(lambda: tuner.status().windows > windows + 6)
            later = [each for each in tuner.history("reports") if each.number not in numbers]
            assert {each.kind for each in later} <= {"shift", "recognised"}
            tuner.thaw()
            tuner.rollback("reports")
            tuner.rollback()
            assert db.settings("reports")["leaf_bytes"] == 8 << 10
        assert {"paused", "resumed", "frozen", "thawed", "rollback"} <= {each.kind for each in tuner.history()}
        with pytest.raises(lyredb.FamilyNotFoundError):
            tuner.rollback("nobody")


def test_what_the_user_set_is_left_alone(path: Path) -> None:
    with lyredb.open(path, autotune=True, delta_records=7, codec="none") as db:
        reports = db.family("reports", leaf_bytes=16 << 10)
        fill(reports)
        with Work(db, "reports"):
            until(lambda: any(each.kind == "recognised" for each in db.autotune.history("reports")))
            # Long enough for a trial to begin.
            time.sleep(1.0)
            settings = db.settings("reports")
        assert (settings["leaf_bytes"], settings["delta_records"], settings["codec"]) == (16 << 10, 7, "none")
        for decision in db.autotune.history():
            assert not {"leaf_bytes", "delta_records", "codec"} & set(decision.changed)


def remember(path: Path, family: str, settings: dict[str, Any], kind: str = "olap") -> None:
    """What an opening before would have found."""
    scans = {"scan_share": 1.0, "scanned_share": 1.0, "scan_rows": 14.3, "scans_of_more": 1.0, "read_bytes": 6.6}
    memory = Memory()
    memory.remember(Remembered(kind, tuple(scans.get(name, 0.0) for name in NAMES), settings, (0.05, 0.1, 0.15)))
    with lyredb.open(path) as db:
        db.family(family, key="bytes", value="bytes")
        db._change_note(family, lambda note: into_note(note, memory))


@pytest.mark.parametrize("family", ["default", "reports"])
def test_the_last_good_settings_are_there_after_opening(path: Path, family: str) -> None:
    remember(path, family, {"leaf_bytes": 64 << 10, "delta_records": 24})
    with lyredb.open(path, autotune=True) as db:
        until(lambda: db.settings(family)["leaf_bytes"] == 64 << 10)
        assert db.settings(family)["delta_records"] == 24
        assert db.pinned(family) == []
        assert [each.kind for each in db.autotune.history(family)] == ["recalled"]
        assert db.autotune.status().families[family].source == "remembered"
    with lyredb.open(path) as db:
        assert db.settings(family)["leaf_bytes"] == 8 << 10


def test_codecs_and_what_is_remembered_share_the_note(path: Path) -> None:
    remember(path, "default", {"delta_records": 24})
    with lyredb.open(path, key="str", value="json") as db:
        db["a"] = [1]
    with lyredb.open(path, autotune=True) as db:
        assert db["a"] == [1]
        until(lambda: db.settings("default")["delta_records"] == 24)
    remember(path, "words", {"delta_records": 32})
    with lyredb.open(path, read_only=True) as db:
        assert db.family("words").key_codec.name == "bytes"
        assert db.settings("words")["delta_records"] == 16


KILLED = """
    import os, random, sys, threading, time
    import lyredb
    db = lyredb.open(sys.argv[1], autotune=True)
    reports = db.family("reports")
    reports.write_batch([(b"%08d" % number, b"v" * 90) for number in range(60_000)])
    db.sync()
    while not any(each.kind == "trial" for each in db.autotune.history("reports")):
        start = random.randrange(30_000)
        reports.scan(b"%08d" % start, b"%08d" % (start + 20_000)).values().to_numpy()
    print("trial", flush=True)
    while True:
        reports.scan().count()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("before", [{}, {"leaf_bytes": 32 << 10, "delta_records": 24}])
def test_after_a_kill_in_a_trial_it_opens_on_the_last_good_settings(path: Path, before: dict[str, Any]) -> None:
    if before:
        # Of other work than the killed program's, so that this begins a trial.
        remember(path, "reports", before, "timeseries")
    program = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(path)], stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    with program:
        assert program.stdout.readline() == "trial\n"
        # At any moment of the trial.
        time.sleep(random.uniform(0.0, 0.8))
        os.kill(program.pid, signal.SIGKILL)
    with lyredb.open(path, autotune=True) as db:
        until(lambda: db.autotune.status().windows > 0)
        settings = db.settings("reports")
        assert settings["leaf_bytes"] == before.get("leaf_bytes", 8 << 10)
        assert settings["delta_records"] == before.get("delta_records", 16)
        assert db.check().ok
        assert len(db.family("reports")) == RECORDS


def test_a_preset_is_where_it_begins(path: Path) -> None:
    with lyredb.open(path, preset="oltp", autotune=True, memory_bytes=64 << 20) as db:
        until(lambda: db.settings("default")["delta_records"] == 64)
        assert db.settings()["memory_bytes"] == 64 << 20
        assert db.pinned("default") == []
        assert db.autotune.status().families["default"].source == "preset"


def test_an_error_ends_tuning_and_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from lyredb.autotune.loop import Loop

    remember(path, "reports", {"leaf_bytes": 64 << 10})

    def fails(self: Loop, *, frozen: bool = False) -> None:
        raise ZeroDivisionError("out of the blue")

    monkeypatch.setattr(Loop, "tick", fails)
    with lyredb.open(path, autotune=True) as db:
        until(lambda: db.autotune.status().error is not None)
        assert db.autotune.status().error == "ZeroDivisionError: out of the blue"
        until(lambda: any(each.kind == "failed" for each in db.autotune.history()))
        assert db.settings("reports")["leaf_bytes"] == 8 << 10
    assert "automatic tuning has stopped" in caplog.text


def test_it_is_refused_where_it_cannot_work(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with lyredb.open(path) as db, pytest.raises(lyredb.ConfigError, match="autotune=True"):
        _ = db.autotune
    with pytest.raises(lyredb.ConfigError, match="reading only"):
        lyredb.open(path, read_only=True, autotune=True)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "optuna" else find_spec(name))
    with pytest.raises(lyredb.ConfigError, match=r"optuna.*lyredb\[autotune\]"):
        lyredb.open(path, autotune=True)
    with lyredb.open(path):
        pass


def test_nothing_is_imported_without_it() -> None:
    program = """
        import sys, tempfile, lyredb
        with lyredb.open(tempfile.mkdtemp()) as db:
            db[b"a"] = b"1"
        print({"numpy", "sklearn", "optuna", "lyredb.autotune.tuner"} & set(sys.modules))
    """
    assert output(program) == "set()\n"


@pytest.mark.parametrize("end", ["", "del db", "sys.exit()", "db.close()"])
def test_a_program_may_end_as_it_likes(path: Path, end: str) -> None:
    program = f"""
        import sys, lyredb
        db = lyredb.open(sys.argv[1], autotune=True)
        db.write_batch([(b"%08d" % number, b"v" * 90) for number in range(60_000)])
        print(len(db))
        {end}
    """
    assert output(program, path) == f"{RECORDS}\n"
    with lyredb.open(path) as db:
        assert len(db) == RECORDS


def test_closing_waits_for_the_thread(path: Path) -> None:
    for _ in range(3):
        db = lyredb.open(path, autotune=True)
        db.close()
        db.close()
        assert not any(thread.name == "lyredb-autotune" for thread in threading.enumerate())
        assert db.autotune.history() == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_no_part_in_it(path: Path) -> None:
    program = """
        import os, sys, lyredb
        db = lyredb.open(sys.argv[1], autotune=True)
        if os.fork() == 0:
            try:
                db.autotune
            except lyredb.ForkedError:
                print("forked", flush=True)
            os._exit(0)
        os.wait()
        db[b"a"] = b"1"
        db.close()
    """
    assert output(program, path) == "forked\n"


def test_families_that_nobody_uses_are_let_alone(path: Path) -> None:
    with lyredb.open(path, autotune=True) as db:
        db.family("unused")
        until(lambda: db.autotune.status().windows > 2)
        assert db.autotune.status().families == {}
        assert db.autotune.history() == []


def test_decisions_are_spans(path: Path) -> None:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from lyredb import telemetry

    meters, traces, exporter = (
        MeterProvider(shutdown_on_exit=False),
        TracerProvider(shutdown_on_exit=False),
        InMemorySpanExporter(),
    )
    traces.add_span_processor(SimpleSpanProcessor(exporter))
    remember(path, "reports", {"leaf_bytes": 64 << 10})
    with lyredb.open(path, autotune=True) as db, telemetry.instrument(db, meters, traces):
        until(lambda: bool(db.autotune.history("reports")))
        db.autotune.rollback("reports")
        decision = db.autotune.history("reports")[-1]
    traces.shutdown()
    meters.shutdown()
    span = next(each for each in exporter.get_finished_spans() if each.name == "autotune rollback")
    assert span.attributes is not None
    assert span.attributes["lyredb.autotune.text"] == decision.text
    assert span.attributes["lyredb.autotune.before.leaf_bytes"] == 64 << 10
    assert span.attributes["lyredb.autotune.after.leaf_bytes"] == 8 << 10
    assert span.attributes["db.collection.name"] == "reports"


def test_a_family_keeps_what_it_has_learnt_when_it_is_renamed(path: Path) -> None:
    remember(path, "reports", {"leaf_bytes": 64 << 10})
    with lyredb.open(path, autotune=True) as db:
        until(lambda: "reports" in db.autotune.status().families)
        db.rename_family("reports", "archive")
        until(lambda: "archive" in db.autotune.status().families)
        assert set(db.autotune.status().families) == {"archive"}
        assert db.settings("archive")["leaf_bytes"] == 64 << 10
        db.drop_family("archive")
        until(lambda: not db.autotune.status().families)
        assert db.autotune.status().error is None
