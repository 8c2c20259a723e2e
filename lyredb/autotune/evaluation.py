"""How well work is recognised, and its changes noticed, where nothing was fitted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from lyredb.autotune import alarm, timelines
from lyredb.autotune.features import Vector
from lyredb.autotune.kinds import KINDS, UNKNOWN
from lyredb.autotune.recognise import Recogniser
from lyredb.autotune.table import CLASSES, FOLDS, Floats, Table
from lyredb.autotune.workloads import variants

Segment = tuple[str, Sequence[Vector]]
"""A kind, and the windows of some work of it, in their order."""
Say = Callable[[str], object]

# A second of windows, as the tuner looks at together.
TOGETHER = 4
# Within so many windows an alarm is to come.
IN_TIME = 3
_RESAMPLED = 1_000
_ORDERS = 3


@dataclass(frozen=True)
class Estimate:
    """A figure, with the interval that has it in 19 of 20 cases: resampled over workloads, not windows."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True)
class Recognised:
    """How often work of which kind was taken for which.

    Attributes:
        confusion: For each of `KINDS` (the rows), how many seconds of it were taken for each of `CLASSES`.
        workloads: How many different ones there were.
        macro_f1: The mean of the kinds' F1, of a second of windows each.
        macro_f1_of_one: The same, of single windows.
        accuracy: The part of the seconds taken for what they are.
    """

    confusion: list[list[int]]
    workloads: int
    macro_f1: Estimate
    macro_f1_of_one: Estimate
    accuracy: Estimate


@dataclass(frozen=True)
class Alarms:
    """What an alarm did on timelines.

    Attributes:
        shifts: How many changes there were.
        in_time: The part of them known within 3 windows.
        delays: How many were known in the first window, in the second, and so on; the last: later, or never.
        windows: How many windows there were in which nothing changed.
        false_per_1000: False alarms in a thousand of these.
    """

    shifts: int
    in_time: Estimate
    delays: list[int]
    windows: int
    false_per_1000: Estimate


@dataclass(frozen=True)
class Unknown:
    """What came of work of no kind.

    Attributes:
        known_of: The part of known work, held back, that was called unknown.
        found: By sort, the part that was called unknown when nothing of the sort had been fitted on.
    """

    known_of: float
    found: dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """All of it; what was not asked for is None or empty.

    Attributes:
        phases, traces: For each, by what part of its seconds it was taken for what.
    """

    pure: Recognised
    mixed: Recognised
    unknown: Unknown
    joined: Mapping[str, Alarms]
    run: Mapping[str, Alarms]
    run_pure: Recognised | None
    phases: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, "Mapping[str, float]"])
    phase_alarms: Alarms | None = None
    traces: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, "Mapping[str, float]"])
    trace_alarms: Alarms | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(
    source: Table,
    *,
    quick: bool,
    processes: int,
    seed: int,
    traces: Path | None,
    phases: bool,
    say: Say = lambda _: None,
) -> Evaluation:
    """Everything that can be told about a table: see `Evaluation`.

    Args:
        source: What is fitted on, but for the workloads held back.
        quick: Shorter runs, and fewer.
        processes: How many timelines are run at once.
        seed: What the timelines are drawn from: workloads that are not in the table.
        traces: A folder of real traces.
        phases: Whether the demo's phases are run, which need its packages.
        say: Told what is being done.
    """
    say("fitting on four in five workloads, five times")
    folds = held_back(source)
    say("running workloads one after the other")
    timeline = _run(quick=quick, processes=processes, seed=seed)
    phase_windows: dict[str, dict[str, list[Vector]]] = {}
    if phases:
        say("running the demo's phases")
        phase_windows = timelines.of_phases(4.0 if quick else 12.0, seed)
    trace_windows: dict[str, list[Vector]] = {}
    if traces is not None:
        say("replaying traces")
        trace_windows = timelines.of_traces(traces, 4.0 if quick else 20.0)
    # None of these is in the table: all of it may be fitted on.
    recogniser, make = Recogniser(source), partial(alarm.ShiftAlarm, alarm.deviations(source))
    return Evaluation(
        pure=recognised([(each.recogniser, _segments(each.pure)) for each in folds]),
        mixed=recognised([(each.recogniser, _segments(each.mixed)) for each in folds]),
        unknown=_unknown(source, folds),
        joined=by_shift([(each.make, _orders(each.pure, seed)) for each in folds]),
        run=by_shift([(make, timeline)]),
        run_pure=recognised([(recogniser, [segment for line in timeline for segment in line])]),
        phases={
            f"{phase}/{family}": _taken_for(recogniser, seen)
            for phase, families in phase_windows.items()
            for family, seen in families.items()
        },
        phase_alarms=_phase_alarms(make, phase_windows) if phases else None,
        traces={name: _taken_for(recogniser, seen) for name, seen in trace_windows.items()},
        trace_alarms=watched(make, [[("cache", seen)] for seen in trace_windows.values()]) if trace_windows else None,
    )


@dataclass(frozen=True, eq=False)
class Fold:
    """A part of the table's workloads, and what was fitted on the others."""

    held: Table
    recogniser: Recogniser
    make: Callable[[], alarm.ShiftAlarm]

    @property
    def pure(self) -> Table:
        return self.held.only(self.held.pure)

    @property
    def mixed(self) -> Table:
        return self.held.only(self.held.mixed)


def held_back(source: Table) -> list[Fold]:
    """Each part of a table once, as nobody has seen it who judges it. Workloads are divided, never their windows."""
    made: list[Fold] = []
    for fold in range(FOLDS):
        others = source.only(source.fold != fold)
        make = partial(alarm.ShiftAlarm, alarm.deviations(others))
        made.append(Fold(source.only(source.fold == fold), Recogniser(others), make))
    return made


# --- recognising


def recognised(asked: Sequence[tuple[Recogniser, Sequence[Segment]]]) -> Recognised:
    """How recognisers do on work of known kinds, each on some; of mixed work, the kind is the main one."""
    together = np.array([counts for one, segments in asked for counts in _confusions(one, segments, TOGETHER)])
    alone = np.array([counts for one, segments in asked for counts in _confusions(one, segments, 1)])
    return Recognised(
        confusion=together.sum(axis=0).astype(np.int64).tolist(),
        workloads=len(together),
        macro_f1=_estimate(together, _macro_f1),
        macro_f1_of_one=_estimate(alone, _macro_f1),
        accuracy=_estimate(together, lambda counts: float(np.trace(counts) / max(1, counts.sum()))),
    )


def _segments(source: Table) -> list[Segment]:
    return [(kind, list(source.of(workload))) for workload, kind in enumerate(source.kinds)]


def _confusions(recogniser: Recogniser, segments: Sequence[Segment], together: int) -> Iterator[Floats]:
    """For each workload, how often it was taken for what."""
    groups = [
        [seen[first : first + together] for first in range(0, len(seen) - together + 1, together)]
        for _, seen in segments
    ]
    answers = iter(recogniser.recognise_each([group for each in groups for group in each]))
    for (kind, _), each in zip(segments, groups, strict=True):
        counts = np.zeros((len(KINDS), len(CLASSES)))
        for found in islice(answers, len(each)):
            counts[KINDS.index(kind), CLASSES.index(found.kind)] += 1
        yield counts


def _macro_f1(counts: Floats) -> float:
    there = counts.sum(axis=1) > 0
    right = np.diagonal(counts)
    f1 = 2.0 * right / np.maximum(1e-9, counts.sum(axis=1) + counts[:, : len(KINDS)].sum(axis=0))
    return float(f1[there].mean()) if there.any() else 0.0


def _estimate(counts: Floats, figure: Callable[[Floats], float]) -> Estimate:
    """A figure of sums over workloads, and its interval by drawing so many workloads again."""
    random = np.random.default_rng(0)
    drawn = random.integers(0, len(counts), (_RESAMPLED, len(counts)))
    figures = [figure(counts[each].sum(axis=0)) for each in drawn]
    low, high = np.quantile(figures, (0.025, 0.975))
    return Estimate(figure(counts.sum(axis=0)), float(low), float(high))


def _taken_for(recogniser: Recogniser, seen: Sequence[Vector]) -> dict[str, float]:
    groups = [seen[first : first + TOGETHER] for first in range(0, len(seen), TOGETHER)]
    kinds = [found.kind for found in recogniser.recognise_each(groups)]
    return {kind: kinds.count(kind) / len(kinds) for kind in CLASSES if kind in kinds}


def _unknown(source: Table, folds: Sequence[Fold]) -> Unknown:
    known = [called for fold in folds for called in _called_unknown(fold.recogniser, fold.pure)]
    found: dict[str, float] = {}
    sorts = np.array(source.variants)
    for sort in sorted({variant for variant in source.variants if variant.startswith(UNKNOWN)}):
        without = Recogniser(source.only(sorts != sort))
        found[sort.split("/")[1]] = float(np.mean(_called_unknown(without, source.only(sorts == sort))))
    return Unknown(float(np.mean(known)), found)


def _called_unknown(recogniser: Recogniser, known: Table) -> list[bool]:
    answers = recogniser.recognise_each([seen[:TOGETHER] for _, seen in _segments(known)])
    return [found.kind == UNKNOWN for found in answers]


# --- alarms


def watched(make: Callable[[], alarm.ShiftAlarm], lines: Sequence[Sequence[Segment]]) -> Alarms:
    """What alarms make of timelines: each begins anew, and each segment but the first is a shift."""
    return _alarms(_told(make, lines))


@dataclass(frozen=True)
class _Told:
    """What came of a segment."""

    # None, where it was the first one; else in which window it was known, 0: in none.
    shift: str | None
    delay: int
    windows: int
    false: int


def _told(make: Callable[[], alarm.ShiftAlarm], lines: Sequence[Sequence[Segment]]) -> list[_Told]:
    told: list[_Told] = []
    for line in lines:
        watching, before = make(), None
        for kind, seen in line:
            rung = [place for place, vector in enumerate(seen, 1) if watching.see(vector)]
            first = before is None
            shift = None if before is None else ("the same kind" if kind == before else "another kind")
            delay = 0 if first or not rung else rung[0]
            told.append(_Told(shift, delay, len(seen), len(rung) if first else max(0, len(rung) - 1)))
            before = kind
    return told


def _alarms(told: Sequence[_Told]) -> Alarms:
    shifts = [each for each in told if each.shift is not None]
    in_time = np.array([[float(0 < each.delay <= IN_TIME), 1.0] for each in shifts] or [[0.0, 0.0]])
    false = np.array([[float(each.false), float(each.windows)] for each in told])
    delays = [sum(each.delay == window for each in shifts) for window in range(1, 7)]
    return Alarms(
        shifts=len(shifts),
        in_time=_estimate(in_time, _part),
        delays=[*delays, len(shifts) - sum(delays)],
        windows=int(false[:, 1].sum()),
        false_per_1000=_estimate(false, lambda sums: 1_000 * _part(sums)),
    )


def _part(sums: Floats) -> float:
    return float(sums[0] / max(1.0, sums[1]))


def by_shift(runs: Sequence[tuple[Callable[[], alarm.ShiftAlarm], Sequence[Sequence[Segment]]]]) -> dict[str, Alarms]:
    """Shifts to another kind and to another workload of the same kind, apart; false alarms are of all windows.

    Args:
        runs: What makes alarms, and timelines for them.
    """
    told = [each for make, lines in runs for each in _told(make, lines)]
    sorts = ("another kind", "the same kind")
    return {sort: _alarms([_only(each, sort) for each in told]) for sort in sorts}


def _only(told: _Told, sort: str) -> _Told:
    return told if told.shift in {None, sort} else _Told(None, 0, told.windows, told.false)


def _orders(pure: Table, seed: int) -> list[list[Segment]]:
    """Pure workloads, put together in some random orders."""
    segments = _segments(pure)
    random = np.random.default_rng(seed)
    return [[segments[place] for place in random.permutation(len(segments))] for _ in range(_ORDERS)]


def _run(*, quick: bool, processes: int, seed: int) -> list[list[Segment]]:
    """Timelines of new workloads, really run."""
    lines, each, seconds = (processes, 4, 4.0) if quick else (3 * processes, 6, 15.0)
    drawn = variants(lines * each, seed, mixtures=0.0, others=0.0)
    parts = [part for first in range(0, len(drawn), each) if len(part := drawn[first : first + each]) > 1]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        seen = list(pool.map(timelines.of_workloads, parts, [seconds] * len(parts)))
    return [
        [(workload.kind, windows) for workload, windows in zip(part, line, strict=True) if windows]
        for part, line in zip(parts, seen, strict=True)
    ]


def _phase_alarms(make: Callable[[], alarm.ShiftAlarm], phases: Mapping[str, Mapping[str, list[Vector]]]) -> Alarms:
    """The phases as they come in the demo, one after the other, of each the family with most work."""
    line = [(phase, max(families.values(), key=len)) for phase, families in phases.items()]
    return watched(make, [line])
