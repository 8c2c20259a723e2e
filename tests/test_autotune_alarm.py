"""Changes of work, noticed soon and not when there is none."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np
import pytest

from lyredb.autotune import alarm, evaluation, table, timelines
from lyredb.autotune.alarm import ShiftAlarm
from lyredb.autotune.features import NAMES, Vector
from lyredb.autotune.workloads import Cache, Olap, Oltp, TimeSeries


@cache
def shipped() -> table.Table:
    return table.load()


def noisy(around: Vector, windows: int, seed: int, scale: float = 1.0) -> list[Vector]:
    random = np.random.default_rng(seed)
    return [np.maximum(0, around + scale * alarm.usual() * random.standard_normal(len(NAMES))) for _ in range(windows)]


def rung(watching: ShiftAlarm, windows: list[Vector]) -> list[int]:
    return [place for place, vector in enumerate(windows, 1) if watching.see(vector)]


@pytest.fixture(name="typical")
def fixture_typical() -> Vector:
    known = shipped()
    return known.of(known.kinds.index("oltp")).mean(axis=0)


def test_usual_noise_is_no_alarm(typical: Vector) -> None:
    assert rung(ShiftAlarm(), noisy(typical, 5_000, 1)) == []


def test_a_shift_is_known_in_two_windows(typical: Vector) -> None:
    watching = ShiftAlarm()
    assert rung(watching, noisy(typical, 50, 2)) == []
    known = shipped()
    other = known.of(known.kinds.index("timeseries")).mean(axis=0)
    assert rung(watching, noisy(other, 50, 3)) == [2]
    assert rung(watching, noisy(typical, 50, 4)) == [2]


def test_one_odd_window_is_no_alarm(typical: Vector) -> None:
    watching = ShiftAlarm()
    odd = np.full(len(NAMES), 0.9)
    for seed in range(20):
        assert rung(watching, [*noisy(typical, 10, seed), odd]) == []


def test_the_statistic_passes_one_with_the_alarm(typical: Vector) -> None:
    watching = ShiftAlarm()
    assert watching.statistic == 0
    rung(watching, noisy(typical, 20, 5))
    assert watching.statistic < 1
    odd = np.full(len(NAMES), 0.9)
    assert not watching.see(odd)
    assert 0 < watching.statistic < 1
    assert watching.see(odd)
    assert watching.statistic >= 1
    watching.reset()
    assert watching.statistic == 0
    assert rung(watching, noisy(typical, 20, 6)) == []


def test_a_slow_drift_is_noticed_but_not_in_each_window(typical: Vector) -> None:
    """Half of the reads become writes within five minutes."""
    drifting = []
    for place, vector in enumerate(noisy(typical, 1_200, 7, scale=0.5)):
        moved = 0.5 * place / 1_200
        changed = vector.copy()
        changed[NAMES.index("get_share")] -= moved
        changed[NAMES.index("put_share")] += moved
        changed[NAMES.index("written_share")] += moved
        drifting.append(np.clip(changed, 0, None))
    alarms = rung(ShiftAlarm(), drifting)
    assert 1 <= len(alarms) <= 20


def test_what_is_odd_again_and_again_is_usual(typical: Vector) -> None:
    """Bursts of misses, as when what is cached expires at once: the first ones may be odd, not each."""
    watching = ShiftAlarm()
    burst = typical.copy()
    burst[NAMES.index("absent_share")] = 0.4
    burst[NAMES.index("put_share")] += 0.25
    burst[NAMES.index("get_share")] -= 0.25
    for seed in range(10):
        rung(watching, [*noisy(typical, 6, seed), burst])
    assert rung(watching, [*noisy(typical, 6, 11), burst, burst] * 3) == []


def test_workloads_held_back() -> None:
    """All shifts between kinds of the shipped table's workloads, in some orders."""
    source = shipped()
    random = np.random.default_rng(1)
    runs: list[Any] = []
    for fold in range(table.FOLDS):
        deviation = alarm.deviations(source.only(source.fold != fold))
        held = source.only((source.fold == fold) & source.pure)
        segments = [(kind, list(held.of(workload))) for workload, kind in enumerate(held.kinds)]
        lines = [[segments[place] for place in random.permutation(len(segments))] for _ in range(2)]
        runs.append((partial(ShiftAlarm, deviation), lines))
    found = evaluation.by_shift(runs)["another kind"]
    assert found.shifts > 400
    assert found.in_time.middle >= 0.95
    assert found.false_per_1000.middle <= 1


def test_real_work_that_changes() -> None:
    parts = [
        Oltp(seed=3, records=20_000, mix="a"),
        TimeSeries(seed=3, records=2_000, series=5, asked=0.2),
        Cache(seed=3, records=20_000, ttl=0.5),
        Olap(seed=3, records=50_000, reader="values", shortest=0.05, longest=0.1),
    ]
    seen = timelines.of_workloads(parts, 2.0)
    found = evaluation.watched(ShiftAlarm, [[(part.kind, windows) for part, windows in zip(parts, seen, strict=True)]])
    assert found.shifts == 3
    assert sum(found.delays[:3]) == 3
