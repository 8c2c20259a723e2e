"""The events that the engine keeps: checkpoints, and what took long."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import lyredb
from lyredb import _engine

SETTINGS: dict[str, int | str] = {}


@pytest.fixture(name="engine")
def fixture_engine(path: Path) -> Any:
    engine = _engine.Engine(path, durability="group", read_only=False, create=True, settings=SETTINGS)
    yield engine
    engine.close()


def default(engine: _engine.Engine) -> _engine.Family[bytes, bytes]:
    codec = _engine.Codec("bytes")
    return _engine.Family(engine, _engine.DEFAULT_FAMILY, codec, codec)


def test_a_checkpoint_is_told_once(engine: _engine.Engine) -> None:
    before = time.time_ns()
    default(engine).put(b"a", b"1")
    engine.checkpoint()
    [(kind, family, began, lasted, detail)] = engine.take_events()
    assert (kind, family) == ("checkpoint", None)
    assert before <= began + 1_000_000 <= time.time_ns()
    assert 0 < lasted < 60 * 10**9
    assert detail["pages_written"] >= 1
    assert detail["bytes_written"] > 0
    assert engine.take_events() == []


def test_what_is_quick_is_no_event_and_what_is_slow_is_one(engine: _engine.Engine) -> None:
    family = default(engine)
    engine.begin(serializable=False, timeout=None).commit()
    for number in range(100):
        family.put(b"%d" % number, b"")
    assert [kind for kind, *_ in engine.take_events() if kind == "transaction"] == []
    engine.set_slow(0.01)
    transaction = engine.begin(serializable=False, timeout=None)
    _engine.TransactionFamily(transaction, family).put(b"a", b"1")
    time.sleep(0.02)
    transaction.commit()
    [(_, name, _, lasted, detail)] = [event for event in engine.take_events() if event[0] == "transaction"]
    assert (name, detail) == (None, {"committed": 1, "writes": 1, "serializable": 0})
    assert lasted >= 20_000_000


def test_too_many_are_counted(engine: _engine.Engine) -> None:
    engine.set_slow(1e-9)
    family = default(engine)
    for number in range(2_000):
        family.write_pairs([(b"%d" % number, b"")])
    (kind, _, _, _, detail), *kept = engine.take_events()
    assert (kind, len(kept)) == ("lost", 1_024)
    assert detail["events"] >= 2_000 - 1_024
    assert {kind for kind, *_ in kept} <= {"batch", "checkpoint"}
    assert {name for kind, name, *_ in kept if kind == "batch"} == {"default"}


def test_a_closed_database_tells_nothing(engine: _engine.Engine) -> None:
    for wrong in (0, -1, "soon"):
        with pytest.raises((ValueError, TypeError)):
            engine.set_slow(wrong)  # pyright: ignore[reportArgumentType]
    engine.close()
    with pytest.raises(lyredb.ClosedError):
        engine.take_events()
    with pytest.raises(lyredb.ClosedError):
        engine.set_slow(1)
