"""An evaluation as tables, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lyredb.autotune.evaluation import IN_TIME, Alarms, Estimate, Evaluation, Recognised
from lyredb.autotune.kinds import KINDS
from lyredb.autotune.table import CLASSES


@dataclass(frozen=True)
class Grid:
    """A table with a title."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """As a page has it."""
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        return "\n".join([f"**{self.title}**", "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def grids(evaluation: Evaluation) -> list[Grid]:
    """All that was found."""
    made = [_summary(evaluation), _confusion("Pure workloads held back", evaluation.pure)]
    if evaluation.run_pure is not None:
        made.append(_confusion("New pure workloads, run one after the other", evaluation.run_pure))
    made.append(_confusion("Mixtures held back: the main kind", evaluation.mixed))
    alarms = {f"held back, joined: {sort}": found for sort, found in evaluation.joined.items()}
    alarms |= {f"new, run: {sort}": found for sort, found in evaluation.run.items()}
    if evaluation.phase_alarms is not None:
        alarms["the demo's phases, joined"] = evaluation.phase_alarms
    if evaluation.trace_alarms is not None:
        alarms["traces, each alone"] = evaluation.trace_alarms
    made.append(_alarms(alarms))
    unknown = evaluation.unknown
    made.append(
        Grid(
            "Work of no kind that was not fitted on, and what part of it is called unknown",
            ("work", "called unknown"),
            [*((sort, f"{part:.0%}") for sort, part in unknown.found.items()), ("known", f"{unknown.known_of:.1%}")],
        )
    )
    if evaluation.phases:
        made.append(_taken("The demo's phases", "phase/family", evaluation.phases))
    if evaluation.traces:
        made.append(_taken("Real traces, replayed as caches", "trace", evaluation.traces))
    return made


def _summary(evaluation: Evaluation) -> Grid:
    rows = [("macro-F1, pure workloads held back", _shown(evaluation.pure.macro_f1), "0.95")]
    rows.append(("the same, of one window instead of a second", _shown(evaluation.pure.macro_f1_of_one), ""))
    if evaluation.run_pure is not None:
        rows.append(("macro-F1, new pure workloads, run", _shown(evaluation.run_pure.macro_f1), "0.95"))
    rows.append(("macro-F1, main kind of mixtures held back", _shown(evaluation.mixed.macro_f1), "0.85"))
    for title, by_shift in (("held back, joined", evaluation.joined), ("new, run", evaluation.run)):
        for sort, found in by_shift.items():
            if found.shifts:
                wanted = "0.95" if sort == "another kind" else ""
                rows.append((f"alarm within {IN_TIME} windows, {title}: {sort}", _shown(found.in_time), wanted))
        rate = next(iter(by_shift.values())).false_per_1000
        rows.append((f"false alarms in 1,000 windows, {title}", _shown(rate), "1"))
    return Grid("Summary (95 % intervals, over workloads)", ("figure", "found", "wanted"), rows)


def _shown(estimate: Estimate) -> str:
    return f"{estimate.middle:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _confusion(title: str, found: Recognised) -> Grid:
    rows = [
        (kind, *(str(count) if count else "" for count in counts))
        for kind, counts in zip(KINDS, found.confusion, strict=True)
    ]
    return Grid(f"{title}, by second ({found.workloads} workloads)", ("is \\ taken for", *CLASSES), rows)


def _alarms(alarms: Mapping[str, Alarms]) -> Grid:
    rows = [
        (
            title,
            str(found.shifts),
            " ".join(map(str, found.delays[:-1])),
            str(found.delays[-1]),
            f"{found.in_time.middle:.1%}",
            f"{found.windows:,}",
            f"{found.false_per_1000.middle:.2f}",
        )
        for title, found in alarms.items()
    ]
    columns = ("timeline", "shifts", "known in window 1 2 3 4 5 6", "later or never", f"within {IN_TIME}", "windows")
    return Grid("Alarms", (*columns, "false in 1,000"), rows)


def _taken(title: str, what: str, found: Mapping[str, Mapping[str, float]]) -> Grid:
    return Grid(f"{title}: taken for", (what, *CLASSES), [(name, *_parts(parts)) for name, parts in found.items()])


def _parts(parts: Mapping[str, float]) -> Iterable[str]:
    return (f"{parts[kind]:.0%}" if kind in parts else "" for kind in CLASSES)
