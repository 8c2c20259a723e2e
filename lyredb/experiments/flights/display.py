"""The demo on the terminal: what the tuner sees and does, and how fast that is, while the timeline runs."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lyredb.experiments.flights import tables
from lyredb.experiments.flights.phases import PHASES
from lyredb.experiments.flights.report import Report
from lyredb.experiments.flights.shown import show_clock
from lyredb.experiments.flights.timeline import Segment

_TIMES = ("the first time", "the second time")
_SHOWN_DECISIONS = 6


class Display:
    """Shows a run. On something that is no terminal, a few lines for each segment."""

    def __init__(self, *, quiet: bool, console: Console | None = None) -> None:
        self._console = console or Console(quiet=quiet, highlight=False)
        self._report: Report | None = None
        self._segment: Segment | None = None
        self._part = 0.0
        self._what = ""
        self._begin = time.monotonic()
        # Drawn between turns only: a thread that draws would take time from what is being timed.
        self._live = Live(console=self._console, auto_refresh=False, transient=True, get_renderable=self.render)
        self._shows_live = self._console.is_terminal and not quiet

    def __enter__(self) -> Display:
        if self._shows_live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def open_with(self, report: Report) -> None:
        """What will run; the report grows from now on."""
        self._report = report
        self._console.print(
            f"{report.data}.\n{len(report.segments)} segments of work, each done in turns by {len(report.arms)} "
            f"databases: {', '.join(report.arms)}.",
            soft_wrap=True,
        )

    def doing(self, what: str) -> None:
        """Something beside the timeline begins."""
        self._what, self._segment = what, None
        self._draw()

    def advance(self, segment: Segment, part: float) -> None:
        """So much of a segment is done, of one."""
        self._segment, self._part = segment, part
        self._draw()

    def end(self, segment: Segment) -> None:
        """A segment is over."""
        if not self._shows_live and self._report is not None:
            for line in tables.plain_lines(self._report, segment):
                self._console.print(line, soft_wrap=True, markup=False)

    def close_with(self, report: Report, folder: Path) -> None:
        """The result."""
        self._console.print()
        self._console.print(tables.by_segment(report, wide=self._wide))
        self._console.print()
        self._console.print(tables.whole(report))
        self._console.print()
        for note in tables.notes(report):
            self._console.print(Text(note, style="dim"))
        self._console.print(
            f"\nAll {report.checked:,} answers are those of pandas. {report.seconds:.0f} s in all. "
            f"[bold]{folder / 'report.html'}[/], report.png and report.json have it.",
            soft_wrap=True,
        )

    def render(self) -> Group:
        """The screen."""
        if self._report is None or self._segment is None:
            return Group(Text(f"{self._what} ..."))
        report, segment = self._report, self._segment
        phase = PHASES[segment.phase]
        pieces: list[RenderableType] = [
            self._progress(report, segment),
            Padding(Text.assemble((phase.title, "bold"), f" ({segment.phase}), {_TIMES[segment.lap]}"), (1, 0, 0, 0)),
            Text(phase.story, style="dim"),
            Padding(tables.speeds(report, segment), (1, 0, 0, 0)),
        ]
        seen = report.seen[-1] if report.seen else None
        if seen is not None and seen.segment == segment.number and seen.families:
            pieces.append(Padding(tables.recognised(seen.families), (1, 0, 0, 0)))
        if report.decisions:
            pieces.append(Padding(tables.decided(report.decisions[-_SHOWN_DECISIONS:]), (1, 0, 0, 0)))
        if segment.number:
            pieces.append(Padding(tables.by_segment(report, wide=self._wide), (1, 0, 0, 0)))
        return Group(*pieces)

    @property
    def _wide(self) -> bool:
        return self._console.width >= 100

    def _progress(self, report: Report, segment: Segment) -> Table:
        bar = ProgressBar(total=len(report.segments), completed=segment.number + self._part, width=40)
        line = Table.grid(padding=(0, 2))
        line.add_row(
            f"segment {segment.number + 1} of {len(report.segments)}", bar, show_clock(time.monotonic() - self._begin)
        )
        return line

    def _draw(self) -> None:
        if self._shows_live:
            self._live.refresh()
