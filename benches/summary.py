"""Medians, spreads and ratios of a run's samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Protocol

from .runner import Sample
from .targets import GROUPS, TARGETS, Target
from .workloads import WORKLOADS, Measure

SUBJECT = "lyredb"


@dataclass(frozen=True)
class Spread:
    """Of one figure over the rounds."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        values = list(values)
        return cls(median(values), min(values), max(values), len(values))


@dataclass(frozen=True)
class Verdict:
    """A target and what came of it. `ratio` is that of the medians, over 1 where LyreDB is the
    better one, its ends the least and the greatest ratio within one round. Without a figure of
    LyreDB's or of a peer's there is no ratio."""

    work: str
    measure: str
    against: str
    wanted: float
    limit: float | None
    peer: str | None
    peer_figure: Spread | None
    subject_figure: Spread | None
    ratio: Spread | None
    reached: bool | None


class Work(Protocol):
    """What is told of a piece of work."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def measures(self) -> tuple[Measure, ...]: ...


class Figures:
    """The samples by work, measure and store."""

    def __init__(
        self,
        samples: Iterable[Sample],
        works: Mapping[str, Work] = WORKLOADS,
        targets: Sequence[Target] = TARGETS,
    ) -> None:
        self._works = works
        self._targets = targets
        self._rounds: dict[tuple[str, str, str], dict[int, float]] = {}
        for sample in samples:
            for name, figure in sample.figures.items():
                rounds = self._rounds.setdefault((sample.work, name, sample.store), {})
                rounds[sample.round] = figure

    def measure_of(self, work: str, name: str) -> Measure:
        return next(measure for measure in self._works[work].measures if measure.name == name)

    def title(self, work: str, measure: str) -> str:
        told = self._works[work]
        return told.title if len(told.measures) == 1 else f"{told.title}: {self.measure_of(work, measure).title}"

    def rounds(self, work: str, measure: str, store: str) -> Mapping[int, float]:
        return self._rounds.get((work, measure, store), {})

    def spread(self, work: str, measure: str, store: str) -> Spread | None:
        rounds = self.rounds(work, measure, store)
        return Spread.of(rounds.values()) if rounds else None

    def rows(self) -> list[tuple[str, str]]:
        """The works and measures that have figures, in the order of the table."""
        found = {(work, measure) for work, measure, _store in self._rounds}
        return [
            (work.name, measure.name)
            for work in self._works.values()
            for measure in work.measures
            if (work.name, measure.name) in found
        ]

    def best(self, work: str, measure: str, stores: Iterable[str]) -> str | None:
        figures = {
            store: spread.median for store in stores if (spread := self.spread(work, measure, store)) is not None
        }
        if not figures:
            return None
        choose = max if self.measure_of(work, measure).more_is_better else min
        return choose(figures, key=lambda store: figures[store])

    def _ratio(self, work: str, measure: str, peer: str) -> Spread | None:
        ours, theirs = self.rounds(work, measure, SUBJECT), self.rounds(work, measure, peer)
        common = ours.keys() & theirs.keys()
        if not common:
            return None
        sign = 1 if self.measure_of(work, measure).more_is_better else -1
        in_rounds = [(ours[number] / theirs[number]) ** sign for number in common]
        of_medians = (median(ours.values()) / median(theirs.values())) ** sign
        return Spread(of_medians, min(in_rounds), max(in_rounds), len(common))

    def verdict(self, target: Target) -> Verdict:
        work, measure = target.work, target.measure
        subject = self.spread(work, measure, SUBJECT)
        peer = ratio = reached = None
        if target.limit is not None:
            reached = None if subject is None else subject.median <= target.limit
        else:
            peer = self.best(work, measure, GROUPS[target.against])
            ratio = None if peer is None else self._ratio(work, measure, peer)
            reached = None if ratio is None else ratio.median >= target.ratio
        return Verdict(
            work=work,
            measure=measure,
            against=target.against,
            wanted=target.ratio,
            limit=target.limit,
            peer=peer,
            peer_figure=None if peer is None else self.spread(work, measure, peer),
            subject_figure=subject,
            ratio=ratio,
            reached=reached,
        )

    def verdicts(self) -> list[Verdict]:
        rows = set(self.rows())
        return [self.verdict(target) for target in self._targets if (target.work, target.measure) in rows]

    def as_dict(self) -> list[dict[str, Any]]:
        return [
            {
                "work": work,
                "measure": measure,
                "unit": self.measure_of(work, measure).unit,
                "store": store,
                **asdict(Spread.of(rounds.values())),
            }
            for (work, measure, store), rounds in self._rounds.items()
        ]
