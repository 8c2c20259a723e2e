"""The demo on the terminal: a table that fills as the phases run, and a bar for what is being done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from lyredb.experiments.flights.phases import Phase
from lyredb.experiments.flights.report import Figures, PhaseReport, Report, show_latency, show_rate, show_size

_STYLES = {"faster": "bold green", "slower": "bold red", "no clear difference": "dim"}


class Display:
    """Shows a run. On something that is no terminal, a line for each phase."""

    def __init__(self, phases: Sequence[Phase], *, quiet: bool) -> None:
        self._console = Console(quiet=quiet, highlight=False)
        self._phases = phases
        self._running: Phase | None = None
        self._table = table([], [phase.name for phase in phases])
        self._reports: dict[str, PhaseReport] = {}
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=self._console
        )
        # Drawn between blocks only: a thread that draws would take time from what is being timed.
        self._live = Live(console=self._console, auto_refresh=False, transient=True, get_renderable=self._render)
        self._shows_live = self._console.is_terminal and not quiet
        self._task = self._progress.add_task("starting", total=None)

    def __enter__(self) -> Display:
        if self._shows_live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(line)

    def doing(self, what: str) -> None:
        """Something whose end is not known begins."""
        self._progress.update(self._task, description=f"{self._current}{what}", total=None, completed=0)
        self._draw()

    def begin(self, phase: Phase) -> None:
        """A phase begins."""
        self._running = phase
        self._progress.reset(self._task, total=None)

    def advance(self, report: PhaseReport, done: int, total: int) -> None:
        """So many of the phase's blocks are done."""
        self._reports[report.name] = report
        if report.default.rates and len(report.default.rates) == len(report.preset.rates):
            self._table = table(list(self._reports.values()), [phase.name for phase in self._phases])
        self._progress.update(
            self._task, description=f"{self._current}default and preset in turns", total=total, completed=done
        )
        self._draw()

    def end(self, report: PhaseReport) -> None:
        """A phase is over."""
        if not self._shows_live:
            default, preset = (show_rate(figures.rate) for figures in report.both)
            self._console.print(
                f"{report.name}: default {default}/s, preset {preset}/s; {report.checked:,} answers checked"
            )

    def close_with(self, report: Report, folder: Path) -> None:
        """The result."""
        self._console.print()
        self._console.print(table(report.phases))
        for phase in report.phases:
            facts = "".join(f"; {name} {value}" for name, value in phase.facts.items())
            changed = ", ".join(f"{name} {value}" for name, _, value in phase.changes)
            self._console.print(Text(f"{phase.name}: {phase.operation}{facts}. Preset: {changed}.", style="dim"))
        self._console.print(
            f"\nAll {report.checked:,} answers are those of pandas. {report.seconds:.0f} s in all. "
            f"[bold]{folder / 'report.html'}[/], report.png and report.json have it."
        )

    @property
    def _current(self) -> str:
        return f"{self._running.name}: " if self._running else ""

    def _render(self) -> Group:
        return Group(self._table, Padding(self._progress, (1, 0, 0, 0)))

    def _draw(self) -> None:
        if self._shows_live:
            self._live.refresh()


def table(reports: Sequence[PhaseReport], names: Sequence[str] = ()) -> Table:
    """Operations a second and latencies by phase. `names` that have no report yet get a row of dots."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    shown.add_column("phase")
    shown.add_column("settings")
    for column in ("operations/s", "p50", "p99", "on disk", "preset/default"):
        shown.add_column(column, justify="right")
    done = {report.name: report for report in reports}
    for name in names or done:
        report = done.get(name)
        if report is None:
            shown.add_row(f"[dim]{name}[/]", *["[dim]·[/]"] * 6)
            continue
        low, high = report.pair_ratios[0], report.pair_ratios[-1]
        ratio = f"[{_STYLES[report.verdict]}]{report.ratio:.2f}x[/]"
        shown.add_row(f"[bold]{report.name}[/]", "default", *_cells(report.default), f"[dim]{low:.2f} to {high:.2f}[/]")
        shown.add_row("", report.preset.settings, *_cells(report.preset), ratio)
    return shown


def _cells(figures: Figures) -> tuple[str, ...]:
    return (
        show_rate(figures.rate),
        show_latency(figures.percentile_microseconds(50)),
        show_latency(figures.percentile_microseconds(99)),
        show_size(figures.folder_bytes),
    )
