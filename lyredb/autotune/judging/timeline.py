"""How a tuned database does on work that shifts: of the demo's timeline."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lyredb import extras
from lyredb.autotune.evaluation import Estimate
from lyredb.autotune.evaluation_text import Grid
from lyredb.autotune.judging.circumstances import Circumstances
from lyredb.autotune.judging.figures import Figure, Part, shown

_RESAMPLED = 2_000
_REPEATS = 3
# How long a timeline takes, loading and all.
_SECONDS, _QUICK_SECONDS = 270.0, 150.0
_TUNED = "tuned"
# Seconds of own work until it is as fast as the best preset: at first sight, and when it comes again.
_FIRST_SECONDS, _AGAIN_SECONDS = 10.0, 4.0

Floats = NDArray[np.float64]


def judge(circumstances: Circumstances) -> Part:
    """Runs the demo's timeline, once or some times."""
    flights: Any = extras.required("lyredb.experiments.flights", extra="demo")
    repeats = circumstances.amount(_REPEATS, 1, 1)
    phases = tuple(flights.PHASES)[: circumstances.amount(5, 5, 1)]
    reports: list[Any] = []
    for repeat in range(repeats):
        options = flights.Options(
            folder=circumstances.folder,
            quick=circumstances.tiny,
            seconds=1.0 if circumstances.tiny else _QUICK_SECONDS if circumstances.quick else _SECONDS,
            phases=phases,
            arms=(_TUNED, *phases) if circumstances.tiny else flights.ARMS,
            seed=circumstances.seed + repeat,
        )
        reports.append(flights.run(options, quiet=True))
        circumstances.progress(repeat + 1, repeats)
    return of_reports(reports)


def of_reports(reports: Sequence[Any]) -> Part:
    """What some reports of the demo say together."""
    phases = {name: Phase(reports, name) for name in reports[0].phases}
    figures = [
        Figure(f"{name}: tuned / best preset ({each.best})", each.over_best, 0.95) for name, each in phases.items()
    ]
    whole = Whole(reports)
    figures += [
        Figure(f"whole timeline: tuned / preset {preset}", whole.over(preset), 1.0) for preset in reports[0].presets
    ]
    figures.append(Figure("whole timeline: tuned / default", whole.over("default"), 1.0))
    for seconds, wanted in ((5.0, 0.90), (60.0, 0.97)):
        if seconds > min(sum(pair.seconds for pair in report.pairs(_TUNED)) for report in reports):
            continue
        worst = sorted(_worst(report, seconds) for report in reports)
        found = Estimate(worst[0], worst[0], worst[-1])
        figures.append(Figure(f"worst {seconds:.0f} s of tuned / default", found, wanted))
    for lap, wanted in ((0, _FIRST_SECONDS), (1, _AGAIN_SECONDS)):
        times = [each for phase in phases.values() for each in phase.adapted(lap)]
        if times:
            name = f"seconds to {'adapt at first sight' if lap == 0 else 'adapt to a phase that comes again'}, median"
            figures.append(Figure(name, _of_times(times), wanted, at_least=False, form=".1f"))
    columns = ("phase", "tuned / default", "best preset", "it / default", "tuned / it", "adapted after", "worst 5 s")
    grid = Grid("The demo's timeline", columns, [each.row() for each in phases.values()])
    details = {"runs": [{**report.as_dict(), "blocks": None, "seen": None} for report in reports]}
    return Part(figures, [grid], details)


class Phase:
    """A phase over all reports; both times that it comes count together.

    Attributes:
        best: The preset that was fastest in it.
        over_best: The tuned speed over that preset's.
    """

    def __init__(self, reports: Sequence[Any], name: str) -> None:
        self._reports, self._name = reports, name
        pairs = {arm: self._pairs(arm) for arm in reports[0].arms}
        self.best = max((arm for arm in reports[0].presets if pairs[arm]), key=lambda arm: _drawn(pairs[arm], 1)[0])
        self._tuned = _drawn(pairs[_TUNED], 0)
        self._of_best = _drawn(pairs[self.best], 1)
        self.over_best = _estimate(self._tuned / self._of_best)
        self._worst = min(_worst_of(self._pairs_of(report, _TUNED), 5.0) for report in reports)

    def adapted(self, lap: int) -> list[float]:
        """How long it took, in each report; infinite: never."""
        rows = [row for report in self._reports for row in report.rows if row.segment.phase == self._name]
        times = [row.adapt_seconds for row in rows if row.segment.lap == lap]
        return [float("inf") if each is None else each for each in times]

    def row(self) -> tuple[str, ...]:
        """As a table has it."""
        adapted = ", ".join(_shown_times(self.adapted(lap)) for lap in (0, 1))
        tuned, best = _estimate(self._tuned), _estimate(self._of_best)
        over = shown(self.over_best)
        return self._name, shown(tuned), self.best, shown(best), over, adapted, f"{self._worst:.2f}"

    def _pairs(self, arm: str) -> list[Any]:
        return [pair for report in self._reports for pair in self._pairs_of(report, arm)]

    def _pairs_of(self, report: Any, arm: str) -> list[Any]:
        return report.pairs(arm, report.of_phase(self._name))


class Whole:
    """The whole timeline over all reports: each segment's work counts by what it takes the default."""

    def __init__(self, reports: Sequence[Any]) -> None:
        self._reports = reports
        self._speeds: dict[str, Floats] = {}

    def over(self, arm: str) -> Estimate:
        """The tuned speed over an arm's."""
        return _estimate(self._speed(_TUNED) / self._speed(arm))

    def _speed(self, arm: str) -> Floats:
        if arm not in self._speeds:
            self._speeds[arm] = np.ones(_RESAMPLED + 1) if arm == "default" else self._drawn(arm)
        return self._speeds[arm]

    def _drawn(self, arm: str) -> Floats:
        weights, times = 0.0, np.zeros(_RESAMPLED + 1)
        for segment in self._reports[0].segments:
            seconds = sum(
                block.seconds
                for report in self._reports
                for block in report.blocks
                if (block.segment, block.arm) == (segment.number, "default")
            )
            pairs = [pair for report in self._reports for pair in report.pairs(arm, [segment])]
            if pairs:
                weights += seconds
                times += seconds / _drawn(pairs, segment.number + 2 + (arm != _TUNED) * 100)
        return weights / times


def _drawn(pairs: Sequence[Any], seed: int) -> Floats:
    """The ratio of pairs, and behind it what it is when their turns are drawn again."""
    turns = [list(group) for _, group in groupby(pairs, lambda pair: (pair.segment, pair.turn))]
    drawn = np.random.default_rng(seed).integers(0, len(turns), (_RESAMPLED, len(turns)))
    own = np.array([sum(pair.seconds for pair in turn) for turn in turns])
    reference = np.array([sum(pair.reference_seconds for pair in turn) for turn in turns])
    again = reference[drawn].sum(axis=1) / own[drawn].sum(axis=1)
    return np.concatenate(([reference.sum() / own.sum()], again))


def _estimate(drawn: Floats) -> Estimate:
    low, high = np.quantile(drawn[1:], (0.025, 0.975))
    middle = float(drawn[0])
    return Estimate(middle, min(float(low), middle), max(float(high), middle))


def _worst(report: Any, seconds: float) -> float:
    return _worst_of(report.pairs(_TUNED), seconds)


def _worst_of(pairs: Sequence[Any], seconds: float) -> float:
    measures: Any = extras.required("lyredb.experiments.flights.measures", extra="demo")
    return measures.worst(pairs, seconds).ratio


def _of_times(times: Sequence[float]) -> Estimate:
    ordered = sorted(times)
    return Estimate(ordered[len(ordered) // 2], ordered[0], ordered[-1])


def _shown_times(times: Sequence[float]) -> str:
    return " / ".join("never" if each == float("inf") else f"{each:.1f} s" for each in times)
