"""A run as tables: figures and ratios, and the evidence that memory was held."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from ..report import VERDICT_HEADS, figure_rows, markdown_table, verdict_cells, verdict_table
from ..run import StoresRun
from ..runner import Sample
from ..settings import RECORD_BYTES
from ..stores import load as load_plain
from ..summary import SUBJECT, Figures
from ..targets import BEST, Target
from .settings import Settings
from .stores import load
from .works import WORKS

TARGETS: tuple[Target, ...] = (
    Target("zipf", "operations", BEST, 1.0),
    Target("uniform", "operations", "rocksdb", 1.0),
    Target("compressible", "operations", BEST, 2.0),
    Target("flights", "operations", BEST, 2.0),
    Target("absent", "operations", BEST, 1.0),
    Target("scan", "before", BEST, 1.0),
    Target("scan", "during", BEST, 1.0),
    Target("scan", "after", BEST, 1.0),
    Target("scan", "rows", BEST, 1.0),
    Target("ycsb_a", "operations", BEST, 1.0),
    Target("ycsb_b", "operations", BEST, 1.0),
    Target("ycsb_e", "operations", BEST, 1.0),
    Target("hot", "cost", limit=0.03),
    Target("load", "operations", BEST, 1.0),
    Target("load", "longest", limit=0.25),
)

MEMORY_HEADS = [
    "work",
    "store",
    "budget",
    "its memory",
    "page cache, mean",
    "page cache, most",
    "RSS, most",
    "read from disk",
    "reads and faults",
    "processor",
    "minor faults",
]


@dataclass
class TierSample(Sample):
    """With what memory was in use and what was read from disk meanwhile, and the store's own counters."""

    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class Run(StoresRun[Settings, TierSample]):
    """Data larger than memory."""

    @property
    def figures(self) -> Figures:
        return Figures(self.samples, WORKS, TARGETS)


def _megabytes(value: float) -> str:
    return f"{value / 1e6:,.0f} MB"


def memory_rows(run: Run) -> list[list[str]]:
    """Of each work and store the medians of the rounds."""
    rows: list[list[str]] = []
    for work in WORKS:
        for store in run.stores():
            found = [
                sample.evidence
                for sample in run.samples
                if (sample.work, sample.store) == (work, store) and sample.evidence.get("memory")
            ]
            if not found:
                continue

            def of(part: str, name: str, found: list[dict[str, Any]] = found) -> float:
                return median(evidence[part][name] for evidence in found)

            own = median(evidence["memory"]["process_mean"] - evidence["process_before"] for evidence in found)
            waits = of("per_operation", "reads") + of("per_operation", "major_faults")
            processor = of("per_operation", "user_seconds") + of("per_operation", "system_seconds")
            rows.append(
                [
                    work,
                    load_plain(store).title,
                    _megabytes(found[0]["memory_bytes"]),
                    _megabytes(own),
                    _megabytes(of("memory", "cached_mean")),
                    _megabytes(of("memory", "cached_peak")),
                    _megabytes(of("memory", "resident_peak")),
                    f"{of('per_operation', 'read_bytes'):,.0f} B",
                    f"{waits:.3f}",
                    f"{1e6 * processor:,.1f} us",
                    f"{of('per_operation', 'minor_faults'):.3f}",
                ]
            )
    return rows


def hits(counters: dict[str, float]) -> dict[str, float]:
    """Of all gets of LyreDB, the share that each of its counters of gets and hits tells."""
    gets = counters.get("gets_found", 0) + counters.get("gets_absent", 0)
    names = [name for name in counters if name.startswith("gets_") or name.endswith("_hits")]
    return {name: counters[name] / gets for name in names if gets and counters[name]}


def hit_rows(run: Run) -> list[list[str]]:
    rows: list[list[str]] = []
    for work in WORKS:
        shares = [
            hits(sample.evidence["counters"])
            for sample in run.samples
            if (sample.work, sample.store) == (work, SUBJECT) and sample.evidence.get("counters")
        ]
        names = {name: None for share in shares for name in share}
        told = (f"{name} {median(share.get(name, 0.0) for share in shares):.1%}" for name in names)
        if names:
            rows.append([work, ", ".join(told)])
    return rows


def as_markdown(run: Run) -> str:
    machine, settings, figures = run.machine, run.settings, run.figures
    direct_read = machine.get("direct_read", "an unknown time")
    lines = [
        "# Data larger than memory",
        "",
        f"{settings.records:,} records of {RECORD_BYTES} bytes, {_megabytes(settings.memory_bytes)} of memory, "
        f"{settings.rounds} rounds, {run.started}, {run.seconds / 60:.0f} minutes. {machine['processor']}, "
        f"{machine['cores']} cores, {machine['file_system']}, {machine['python']}, {machine['system']}; load average "
        f"{machine['load_average_at_start']} before; a direct read of 4 KiB takes {direct_read}.",
        "",
        *markdown_table(VERDICT_HEADS, [verdict_cells(figures, verdict) for verdict in figures.verdicts()]),
        "",
        "## All figures",
        "",
    ]
    titles = [load_plain(name).title for name in run.stores()]
    lines += markdown_table(["work", *titles], figure_rows(figures, run.stores(), spreads=True))
    lines += ["", "## Memory and reads, for an operation", "", *markdown_table(MEMORY_HEADS, memory_rows(run)), ""]
    lines += ["## Where LyreDB's gets ended", "", *markdown_table(["work", "share of gets"], hit_rows(run)), ""]
    lines += ["## The stores", ""]
    lines += [f"- {load_plain(name).title} {run.versions[name]}: {load(name).set_up}." for name in run.stores()]
    lines += run.failures_as_markdown()
    return "\n".join([*lines, "", "    " + " ".join(run.command), ""])


def _table(title: str, heads: list[str], rows: list[list[str]]) -> Table:
    table = Table(*heads, title=title)
    for row in rows:
        table.add_row(*row)
    return table


def show(run: Run, console: Console) -> None:
    figures, stores = run.figures, run.stores()
    titles = [load_plain(name).title for name in stores]
    if SUBJECT in stores:
        console.print(verdict_table(figures, "Data larger than memory"))
    console.print(_table("All figures", ["work", *titles], figure_rows(figures, stores, spreads=True)))
    console.print(_table("Memory and reads, for an operation", MEMORY_HEADS, memory_rows(run)))
    console.print(_table("Where LyreDB's gets ended", ["work", "share of gets"], hit_rows(run)))
