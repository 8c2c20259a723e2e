"""The run as a document: JSON with every sample, Markdown tables, and a table on the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.table import Table

from .run import StoresRun
from .runner import Sample
from .settings import Settings
from .stores import load
from .summary import SUBJECT, Figures, Spread, Verdict
from .workloads import Measure

METHOD = """\
Every measurement is a process of its own; each round measures every work with every store, the
stores in random order, one after the other. A figure is the median of the rounds (least to
greatest), a ratio that of the medians (least to greatest ratio within one round), over 1 where
LyreDB is better. The timed loop is the same Python code for every store, on bound methods and keys
made beforehand; nothing is subtracted for it. Keys are fresh `bytes` objects whose hash no dict
has seen. Reads run on a folder that was loaded once in random order in batches of 1,000, settled by
the store's own means (checkpoint, compaction) and closed; the measuring process opens it and reads
all of it untimed first. Work that writes runs on a copy of that folder. Loops end after
{seconds:g} s at the latest."""


@dataclass(kw_only=True)
class Run(StoresRun[Settings, Sample]):
    """Data that memory holds."""

    left_out: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "left_out": self.left_out}


def _number(value: float, measure: Measure) -> str:
    if measure.unit == "ns":
        return f"{value:,.0f} ns"
    if measure.unit == "seconds":
        return f"{value:.3f} s"
    if measure.unit == "share":
        return f"{value:.1%}"
    if measure.unit == "bytes a record":
        return f"{value:,.1f} B"
    if value >= 1e6:
        return f"{value / 1e6:,.2f} M/s"
    return f"{value:,.0f}/s"


def _spread(spread: Spread | None, measure: Measure) -> str:
    if spread is None:
        return "-"
    text = _number(spread.median, measure)
    if spread.rounds == 1:
        return text
    return f"{text} ({_number(spread.low, measure)} to {_number(spread.high, measure)})"


def verdict_cells(figures: Figures, verdict: Verdict) -> list[str]:
    measure = figures.measure_of(verdict.work, verdict.measure)
    wanted = f"{verdict.wanted:g}x" if verdict.limit is None else f"under {_number(verdict.limit, measure)}"
    if verdict.ratio is None:
        ratio = "-"
    else:
        low, high = verdict.ratio.low, verdict.ratio.high
        ratio = f"{verdict.ratio.median:.2f}x ({low:.2f} to {high:.2f})"
    return [
        figures.title(verdict.work, verdict.measure),
        "-" if verdict.peer is None else load(verdict.peer).title,
        _spread(verdict.peer_figure, measure),
        _spread(verdict.subject_figure, measure),
        ratio,
        wanted,
        {True: "yes", False: "no", None: "not measured"}[verdict.reached],
    ]


VERDICT_HEADS = ["work", "best peer", "its figure", "LyreDB", "ratio", "wanted", "reached"]


def markdown_table(heads: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def figure_rows(figures: Figures, stores: list[str], spreads: bool) -> list[list[str]]:
    rows: list[list[str]] = []
    for work, name in figures.rows():
        measure = figures.measure_of(work, name)
        cells = [figures.title(work, name)]
        for store in stores:
            spread = figures.spread(work, name, store)
            plain = "-" if spread is None else _number(spread.median, measure)
            cells.append(_spread(spread, measure) if spreads else plain)
        rows.append(cells)
    return rows


def as_markdown(run: Run) -> str:
    machine, settings = run.machine, run.settings
    memory = machine["memory_bytes"]
    gigabytes = f"{memory / 1e9:.0f} GB" if isinstance(memory, int) else "unknown memory"
    stores = run.stores()
    titles = [load(name).title for name in stores]
    lines = [
        "# LyreDB and its peers",
        "",
        f"{settings.records:,} records of 16 + 100 bytes, {settings.rounds} rounds at most, "
        f"{run.started}, {run.seconds / 60:.0f} minutes. {machine['processor']}, "
        f"{machine['cores']} cores, {gigabytes}, {machine['file_system']}, {machine['python']}, "
        f"{machine['system']}; load average {machine['load_average_at_start']} before.",
        "",
    ]
    if SUBJECT in stores:
        rows = [verdict_cells(run.figures, verdict) for verdict in run.figures.verdicts()]
        lines += [*markdown_table(VERDICT_HEADS, rows), ""]
    lines += ["## All figures", ""]
    lines += markdown_table(["work", *titles], figure_rows(run.figures, stores, spreads=True))
    lines += ["", "## The stores", ""]
    lines += [f"- {load(name).title} {run.versions[name]}: {load(name).set_up}." for name in stores]
    lines += [f"- {name} was left out: {why}" for name, why in run.left_out.items()]
    lines += run.failures_as_markdown()
    lines += ["", "## Method", "", METHOD.format(seconds=settings.seconds), ""]
    lines += ["    " + " ".join(run.command), ""]
    return "\n".join(lines)


def verdict_table(figures: Figures, title: str) -> Table:
    table = Table(*VERDICT_HEADS, title=title)
    for verdict in figures.verdicts():
        style = {True: "green", False: "red", None: "dim"}[verdict.reached]
        table.add_row(*verdict_cells(figures, verdict), style=style)
    return table


def as_table(run: Run) -> Table:
    """What fits a terminal: verdicts where LyreDB was measured, else every store's medians."""
    stores = run.stores()
    if SUBJECT in stores:
        return verdict_table(run.figures, "LyreDB and its peers")
    table = Table(title="Peers")
    table.add_column("work", min_width=20)
    for name in stores:
        table.add_column(load(name).title, justify="right", no_wrap=True)
    for row in figure_rows(run.figures, stores, spreads=False):
        table.add_row(*row)
    return table
