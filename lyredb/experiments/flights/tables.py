"""The tables of the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from lyredb.autotune import FamilyStatus
from lyredb.experiments.flights.follower import Decided
from lyredb.experiments.flights.measures import Interval
from lyredb.experiments.flights.report import ADAPTED, Report, Row
from lyredb.experiments.flights.settings import show_settings
from lyredb.experiments.flights.shown import show_rate, show_ratio, show_seconds
from lyredb.experiments.flights.timeline import DEFAULT, TUNED, Segment

_BAR = 24


def _table(*columns: str, left: int = 1) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place < left else "right", no_wrap=True)
    return table


def by_segment(report: Report, *, wide: bool = True) -> Table:
    """A row for each segment that has begun; one that is not wide fits in 80 columns."""
    table = _table("phase", "default/s", "tuned/s", "tuned", *(["95 %"] if wide else []), "worst 5 s")
    table.add_column("best preset", no_wrap=True)
    for column in ("", "tuned/best", "adapted") if wide else ("", "/best", "adapted"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in report.rows:
        if row.segment.lap and row.segment.phase == report.phases[0]:
            table.add_section()
        table.add_row(f"[bold]{row.segment.phase}[/]", *_cells(row, wide))
    if not wide:
        table.padding = (0, 1, 0, 0)
    return table


def _cells(row: Row, wide: bool) -> list[str]:
    tuned = [""] * (4 if wide else 3)
    if row.tuned is not None and row.tuned_rate is not None and row.worst is not None:
        interval = [f"[dim]{row.tuned.low:.2f} to {row.tuned.high:.2f}[/]"] if wide else []
        ratio = f"[{_style(row.tuned)}]{show_ratio(row.tuned.middle)}[/]"
        tuned = [show_rate(row.tuned_rate), ratio, *interval, show_ratio(row.worst.ratio)]
    best = ["", "", "", ""]
    if row.best is not None:
        best[:2] = [row.best.preset, show_ratio(row.best.ratio)]
        if row.tuned is not None:
            best[2:] = [show_ratio(row.tuned_over_best), show_seconds(row.adapt_seconds)]
    return [show_rate(row.default_rate), *tuned, *best]


def _style(ratio: Interval) -> str:
    if ratio.low > 1.0:
        return "bold green"
    return "bold red" if ratio.high < 1.0 else "bold"


def whole(report: Report) -> Table:
    """The whole timeline: a row for each arm, the fastest first."""
    table = _table("the whole timeline", "over default", "")
    table.columns[2].justify = "left"
    ratios = sorted(report.whole.items(), key=lambda item: -item[1])
    for arm, ratio in ratios:
        name = f"[bold]{arm}[/]" if arm == TUNED else arm if arm == DEFAULT else f"preset {arm}"
        style = "bold" if arm == TUNED else "none"
        bar = Text("█" * max(round(_BAR * ratio / ratios[0][1]), 1), style="green" if arm == TUNED else "dim")
        table.add_row(name, f"[{style}]{show_ratio(ratio)}[/]", bar)
    best = report.best_of_each
    if best is not None:
        table.add_row("[dim]by hand, the best preset of each phase[/]", f"[dim]{show_ratio(best)}[/]", "")
    return table


def notes(report: Report) -> list[str]:
    """What the tables do not say."""
    said = [
        "Ratios are to the default's speed on the same blocks in the same rounds.",
    ]
    worst = report.worst
    if worst is not None:
        said.append(
            f"Tuned, worst 5 s of the whole timeline: {show_ratio(worst.ratio)} of the default. "
            f"Adapted: own work until it is at {ADAPTED:.0%} of the best preset's speed, and then on the average."
        )
    return said


def speeds(report: Report, segment: Segment) -> Table:
    """Operations a second of the segment so far."""
    row = report.row(segment)
    table = _table("operations a second", "", "over default", left=1)
    most = max(row.default_rate, row.tuned_rate or 0.0) * 1.25
    shown = [(TUNED, row.tuned_rate, row.tuned.middle if row.tuned else None), (DEFAULT, row.default_rate, 1.0)]
    if row.best is not None:
        # Its turns were others: what it would have reached in the default's.
        shown.append((f"best preset so far, {row.best.preset}", row.default_rate * row.best.ratio, row.best.ratio))
    table.add_column("")
    for name, rate, ratio in shown:
        if rate is not None:
            style = "green" if name == TUNED else "dim"
            bar = Text("█" * max(round(_BAR * rate / most), 1), style=style)
            table.add_row(f"[bold]{name}[/]" if name == TUNED else name, show_rate(rate), show_ratio(ratio), bar)
    return table


def recognised(families: Mapping[str, FamilyStatus]) -> Table:
    """What the work of families was taken for, and the settings in force."""
    table = _table("family", "is taken for", "", "settings", left=4)
    table.columns[3].no_wrap = False
    for name, family in families.items():
        kinds = sorted(family.probabilities.items(), key=lambda item: -item[1])
        state = Text.assemble((show_settings(family.settings), "bold"), f"\n{family.source}, {family.state}")
        if family.gain is not None:
            low, middle, high = family.gain
            state.append(f"\ncost of the default over theirs {middle:.2f} ({low:.2f} to {high:.2f})")
        bars = Text()
        for kind, probability in kinds:
            filled = round(12 * probability)
            bars.append("█" * filled + "░" * (12 - filled), style="cyan" if kind == family.kind else "dim")
            bars.append(f" {probability:4.0%} {kind}\n")
        bars.rstrip()
        table.add_row(f"[bold]{name}[/]", f"[cyan]{family.kind}[/]", bars, state)
    return table


def decided(decisions: Sequence[Decided]) -> Table:
    """Decisions with their reasons."""
    table = _table("own work", "family", "decision", "why", left=4)
    table.columns[0].justify = "right"
    table.columns[3].no_wrap = False
    for each in decisions:
        table.add_row(
            f"{each.own_seconds:.1f} s",
            each.decision.family or "",
            each.decision.kind,
            Text(each.why),
        )
    return table


def plain_lines(report: Report, segment: Segment) -> list[str]:
    """A segment in a few lines, for logs."""
    row = report.row(segment)
    figures = [f"default {show_rate(row.default_rate)}/s"]
    if row.tuned is not None and row.tuned_rate is not None:
        figures.append(f"tuned {show_rate(row.tuned_rate)}/s ({show_ratio(row.tuned.middle)})")
    if row.best is not None:
        figures.append(f"best preset {row.best.preset} ({show_ratio(row.best.ratio)})")
    head = f"{segment.number + 1}/{len(report.segments)} {segment.phase}"
    lines = [f"{head}: {', '.join(figures)}"]
    seen = report.seen[-1].families if report.seen else {}
    for name, family in seen.items():
        lines.append(f"    {name} is taken for {family.kind}; in force: {show_settings(family.settings)}")
    decisions = [each for each in report.decisions if each.segment == segment.number]
    lines += [f"    {each.own_seconds:.1f} s: {each.decision.text}" for each in decisions]
    return lines
