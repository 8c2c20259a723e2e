"""What a run found."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lyredb.experiments.flights import measures
from lyredb.experiments.flights.follower import Decided, Seen
from lyredb.experiments.flights.measures import Interval, Pair, Span
from lyredb.experiments.flights.phases import PHASES
from lyredb.experiments.flights.shown import describe_machine
from lyredb.experiments.flights.timeline import DEFAULT, TUNED, Block, Segment

# An arm has adapted when it is as fast as this part of the best preset's speed.
ADAPTED = 0.95


@dataclass(frozen=True)
class Best:
    """The preset that did a phase's work fastest, both times together, and the speed of the best over the default's."""

    preset: str
    ratio: float


@dataclass(frozen=True)
class Row:
    """What came of a segment. Where an arm did not run, what is about it is None.

    Attributes:
        segment: Which one.
        default_rate: Operations a second on the default settings.
        best: The best preset of the phase.
        tuned_rate: Operations a second of the tuned database.
        tuned: Its speed over the default's, with a 95 % interval.
        tuned_over_best: Its speed over the best preset's.
        adapt_seconds: Its own work until it was at least at `ADAPTED` of the best preset's speed; None: never.
        worst: Its worst five seconds of own work beside the default.
    """

    segment: Segment
    default_rate: float
    best: Best | None
    tuned_rate: float | None
    tuned: Interval | None
    tuned_over_best: float | None
    adapt_seconds: float | None
    worst: Span | None


@dataclass
class Report:
    """A run of the demo; `blocks` has all measurements, and everything else is computed from them.

    Attributes:
        blocks: In order of time.
        checked: How many answers were compared with those of pandas.
        load_seconds: By arm, the time to open and load its database.
        seen: What the tuner made of the work, at the end of each of its turns.
        decisions: What it decided.
    """

    command: str
    started: str
    quick: bool
    data: str
    arms: list[str]
    segments: list[Segment]
    seconds: float = 0.0
    checked: int = 0
    blocks: list[Block] = field(default_factory=list[Block])
    load_seconds: dict[str, float] = field(default_factory=dict[str, float])
    seen: list[Seen] = field(default_factory=list[Seen])
    decisions: list[Decided] = field(default_factory=list[Decided])
    machine: dict[str, str | int] = field(default_factory=describe_machine)

    @property
    def phases(self) -> list[str]:
        """The phases that ran, in the order of the timeline."""
        return list(dict.fromkeys(segment.phase for segment in self.segments))

    @property
    def presets(self) -> list[str]:
        """The arms on fixed presets."""
        return [arm for arm in self.arms if arm not in (TUNED, DEFAULT)]

    def pairs(self, arm: str, segments: Iterable[Segment] | None = None) -> list[Pair]:
        """The arm's blocks beside the default's, of some segments or all."""
        numbers = {segment.number for segment in (self.segments if segments is None else segments)}
        return measures.paired((block for block in self.blocks if block.segment in numbers), arm)

    def of_phase(self, phase: str) -> list[Segment]:
        """The segments of a phase."""
        return [segment for segment in self.segments if segment.phase == phase]

    def rate(self, arm: str, segment: Segment) -> float | None:
        """Operations a second of an arm in a segment; None, if it had no turn."""
        blocks = [block for block in self.blocks if block.arm == arm and block.segment == segment.number]
        return sum(each.operations for each in blocks) / sum(each.seconds for each in blocks) if blocks else None

    def ratio(self, arm: str, segments: Iterable[Segment] | None = None) -> Interval | None:
        """An arm's speed over the default's in some segments; None, if it had no turn in them."""
        pairs = self.pairs(arm, segments)
        return measures.interval(pairs) if pairs else None

    def best(self, phase: str) -> Best | None:
        """The best preset of a phase; None, if none has run.

        The fastest of five is flattered by chance. So its speed is that of the one that was fastest in the first
        segment, measured in the second, and the other way round, once all presets have had a turn in both.
        """
        segments = self.of_phase(phase)
        over_all = self._preset_ratios(segments)
        if not over_all:
            return None
        name = max(over_all, key=lambda preset: over_all[preset])
        laps = [self._preset_ratios([segment]) for segment in segments]
        if len(laps) != 2 or any(len(lap) < len(self.presets) for lap in laps):
            return Best(name, over_all[name])
        first, second = laps
        measured = (
            second[max(first, key=lambda preset: first[preset])] * first[max(second, key=lambda preset: second[preset])]
        )
        return Best(name, math.sqrt(measured))

    def row(self, segment: Segment) -> Row:
        """What came of a segment."""
        default_rate = self.rate(DEFAULT, segment)
        if default_rate is None:
            raise ValueError(f"nothing was done in segment {segment.number}")
        pairs = self.pairs(TUNED, [segment])
        best = self.best(segment.phase)
        tuned = measures.interval(pairs) if pairs else None
        return Row(
            segment,
            default_rate,
            best,
            self.rate(TUNED, segment),
            tuned,
            tuned.middle / best.ratio if tuned and best else None,
            measures.time_to_adapt(pairs, ADAPTED * best.ratio) if pairs and best else None,
            measures.worst(pairs) if pairs else None,
        )

    @property
    def rows(self) -> list[Row]:
        """What came of each segment that has begun."""
        begun = {block.segment for block in self.blocks if block.arm == DEFAULT}
        return [self.row(segment) for segment in self.segments if segment.number in begun]

    @property
    def whole(self) -> dict[str, float]:
        """By arm, the speed over the default's for all work: the default's time for it over the arm's.

        Segments in which it had no turn are left out, and arms that had none at all.
        """
        found: dict[str, float] = {}
        for arm in self.arms:
            parts = [(self._default_seconds(segment), self.pairs(arm, [segment])) for segment in self.segments]
            ratios = [(seconds, measures.ratio(pairs)) for seconds, pairs in parts if pairs]
            if ratios:
                found[arm] = measures.over_all(ratios)
        return found

    @property
    def best_of_each(self) -> float | None:
        """The speed over the default's of somebody who changes to the best preset with every phase, at no cost."""
        parts = [(self._default_seconds(segment), self.best(segment.phase)) for segment in self.segments]
        ratios = [(seconds, best.ratio) for seconds, best in parts if best is not None]
        return measures.over_all(ratios) if ratios else None

    @property
    def worst(self) -> Span | None:
        """The tuned database's worst five seconds of own work beside the default, segments regardless."""
        pairs = self.pairs(TUNED)
        return measures.worst(pairs) if pairs else None

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        best, worst = self.best_of_each, self.worst
        return {
            "command": self.command,
            "started": self.started,
            "seconds": self.seconds,
            "quick": self.quick,
            "data": self.data,
            "machine": self.machine,
            "arms": self.arms,
            "checked": self.checked,
            "phases": [self._phase(name) for name in self.phases],
            "segments": [_row_for_json(row) for row in self.rows],
            "whole": {
                "over_default": {arm: round(value, 4) for arm, value in self.whole.items()},
                "best_preset_of_each_phase_over_default": None if best is None else round(best, 4),
                "worst_5_seconds_over_default": None if worst is None else _rounded(worst._asdict()),
            },
            "load_seconds": self.load_seconds,
            "decisions": [{**vars(each), "decision": each.decision.as_dict()} for each in self.decisions],
            "seen": [asdict(each) for each in self.seen],
            "blocks": [asdict(block) for block in self.blocks],
        }

    def _preset_ratios(self, segments: Sequence[Segment]) -> dict[str, float]:
        found = {preset: self.pairs(preset, segments) for preset in self.presets}
        return {preset: measures.ratio(pairs) for preset, pairs in found.items() if pairs}

    def _default_seconds(self, segment: Segment) -> float:
        return sum(block.seconds for block in self.blocks if (block.segment, block.arm) == (segment.number, DEFAULT))

    def _phase(self, name: str) -> dict[str, Any]:
        phase, segments = PHASES[name], self.of_phase(name)
        ratios = {arm: self.ratio(arm, segments) for arm in self.arms}
        best = self.best(name)
        return {
            "name": name,
            "title": phase.title,
            "story": phase.story,
            "operation": phase.operation,
            "families": list(phase.families),
            "over_default": {arm: _rounded(each._asdict()) for arm, each in ratios.items() if each is not None},
            "best_preset": None if best is None else asdict(best),
        }


def _row_for_json(row: Row) -> dict[str, Any]:
    document = asdict(row.segment)
    document["default_operations_per_second"] = round(row.default_rate, 1)
    document["tuned_operations_per_second"] = None if row.tuned_rate is None else round(row.tuned_rate, 1)
    document["best_preset"] = None if row.best is None else asdict(row.best)
    document["tuned_over_default"] = None if row.tuned is None else _rounded(row.tuned._asdict())
    document["tuned_over_best_preset"] = None if row.tuned_over_best is None else round(row.tuned_over_best, 4)
    document["adapted_after_seconds"] = row.adapt_seconds
    document["worst_5_seconds_over_default"] = None if row.worst is None else _rounded(row.worst._asdict())
    return document


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}
