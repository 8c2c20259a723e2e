"""What tuning does to the engine, and what it lets be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from simulated_engine import SimulatedEngine

from lyredb.autotune import hands as module
from lyredb.autotune.hands import Hands

LARGE = {"leaf_bytes": 128 << 10}


class Slow(SimulatedEngine):
    """Cutting leaves anew takes `seconds`, in a hundred steps; the first step takes `wait` more."""

    def __init__(self, clock: list[float], seconds: float, wait: float = 0.0) -> None:
        super().__init__("orders")
        self._clock, self._seconds, self._wait = clock, seconds, wait

    def reshape(self, family: str, progress: Callable[[int, int], object] | None) -> int:
        self._clock[0] += self._wait
        for step in range(1, 101):
            self._clock[0] += self._seconds / 100
            if progress is not None:
                progress(step, 100)
        return super().reshape(family, progress)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    passed = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: passed[0])
    return passed


def of(engine: Any, ended: Callable[[], bool] = lambda: False) -> Hands:
    return Hands(engine, "orders", ended)


def test_leaves_are_cut_only_when_their_size_changes(clock: list[float]) -> None:
    engine = Slow(clock, 0.2)
    hands = of(engine)
    assert hands.put({"delta_records": 64}, 2.0)
    assert (engine.reshapes, hands.reshape_seconds) == (0, None)
    assert hands.put({**LARGE, "delta_records": 64}, 2.0)
    assert hands.put(LARGE, 2.0)
    assert (engine.reshapes, engine.families["orders"].layout) == (1, 128 << 10)
    assert hands.reshape_seconds == pytest.approx(0.2)
    assert hands.moved


def test_what_would_take_too_long_is_not_done_and_that_is_known_early(clock: list[float]) -> None:
    engine = Slow(clock, 60.0)
    hands = of(engine)
    assert not hands.put(LARGE, 2.0)
    assert clock[0] < 1.5
    assert (hands.in_force, engine.families["orders"].tuned) == ({}, {})
    assert hands.reshape_seconds == pytest.approx(60.0)


def test_a_first_step_that_waits_foretells_nothing(clock: list[float]) -> None:
    hands = of(Slow(clock, 0.3, wait=0.4))
    assert hands.put(LARGE, 2.0)


def test_closing_stops_it(clock: list[float]) -> None:
    engine = Slow(clock, 1.0)
    hands = of(engine, lambda: clock[0] > 0.3)
    assert not hands.put(LARGE, 2.0)
    assert clock[0] < 0.4


def test_leaves_of_an_unsure_size_are_cut_once(clock: list[float]) -> None:
    engine = Slow(clock, 0.1)
    engine.families["orders"].layout = 128 << 10
    hands = of(engine)
    hands.found({}, leaves_unsure=True)
    assert hands.put({}, 2.0)
    assert engine.families["orders"].layout == 8 << 10
    assert hands.put({}, 2.0)
    assert engine.reshapes == 1
