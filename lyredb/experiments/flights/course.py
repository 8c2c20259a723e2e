"""What the plots show: the timeline in the tuned database's own time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from lyredb.experiments.flights import measures
from lyredb.experiments.flights.follower import Decided
from lyredb.experiments.flights.report import Report
from lyredb.experiments.flights.timeline import DEFAULT, TUNED, Segment

INK, FAINT, GRID = "#1f2933", "#7b8794", "#dde3e9"
COLOURS = {
    TUNED: "#1f5fd0",
    DEFAULT: "#8f9ba8",
    "oltp": "#d9722e",
    "olap": "#8a56c9",
    "cache": "#c93f6f",
    "timeseries": "#1c8f80",
    "graph": "#a38a00",
}
_STRETCH_SECONDS = 1.0
# What a tuned database should not fall below, over five seconds; a plot has a line there.
LEAST = 0.9
# Decisions that change settings, or say that they should.
NOTABLE = ("shift", "applied", "recalled", "accepted", "rejected", "rollback")


@dataclass(frozen=True)
class Stretch:
    """A segment, from one moment of the tuned database's own work to another.

    Attributes:
        line: Moments, and the tuned speed over the default's in the second around them.
        presets: The fixed presets' speed over the default's; those that had a turn.
    """

    segment: Segment
    begin: float
    end: float
    line: Sequence[tuple[float, float]]
    presets: dict[str, float]


def course(report: Report) -> list[Stretch]:
    """The segments in order."""
    main = TUNED if TUNED in report.arms else DEFAULT
    stretches: list[Stretch] = []
    begin = 0.0
    for segment in report.segments:
        pairs = report.pairs(main, [segment])
        end = begin + sum(pair.seconds for pair in pairs)
        spans = measures.rolling(pairs, _STRETCH_SECONDS) if main == TUNED else []
        line = [(begin + (span.begin_seconds + span.end_seconds) / 2, span.ratio) for span in spans]
        ratios = {preset: report.pairs(preset, [segment]) for preset in report.presets}
        presets = {preset: measures.ratio(found) for preset, found in ratios.items() if found}
        stretches.append(Stretch(segment, begin, end, line, presets))
        begin = end
    return stretches


def notable(report: Report) -> list[Decided]:
    """The decisions that a plot marks."""
    return [each for each in report.decisions if each.decision.kind in NOTABLE]


def bounds(stretches: Sequence[Stretch]) -> tuple[float, float]:
    """The lowest and highest ratio that a plot of them should have room for."""
    found = [ratio for each in stretches for _, ratio in each.line]
    found += [ratio for each in stretches for ratio in each.presets.values()]
    return min([0.8, *found]) * 0.97, max([1.2, *found]) * 1.03


def ticks(low: float, high: float) -> list[float]:
    """Ratios to mark between two."""
    # By how much they matter; less important ones that would lie too near are left out.
    marks = (1.0, 0.9, 1.1, 0.8, 1.25, 0.5, 2.0, 0.25, 4.0, 0.7, 0.6, 1.5, 3.0, 0.33)
    chosen: list[float] = []
    for mark in marks:
        if low <= mark <= high and all(abs(log(mark / other)) > 0.05 * log(high / low) for other in chosen):
            chosen.append(mark)
    return chosen
