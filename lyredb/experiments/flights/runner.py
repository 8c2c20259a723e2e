"""Runs the phases: each under the default and under its preset, in turns."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import lyredb
from lyredb import presets
from lyredb.experiments.flights import chart, webpage
from lyredb.experiments.flights.data import Data, summary
from lyredb.experiments.flights.display import Display
from lyredb.experiments.flights.phases import PHASES, Phase
from lyredb.experiments.flights.phases.base import Database
from lyredb.experiments.flights.report import DEFAULT, Figures, PhaseReport, Report
from lyredb.experiments.flights.stopwatch import timed
from lyredb.presets import page

# The first block warms up: it is checked, but its time does not count.
_WARM_UP_BLOCKS = 1
_BLOCKS = 16
_QUICK_BLOCKS = 4


@dataclass(frozen=True)
class Options:
    """What to run, and where.

    Attributes:
        folder: Takes the databases while they are worked on, and the report. It is made if it does not exist.
        quick: A tenth of the work.
        phases: Names of `PHASES`.
        seed: What is drawn at random is drawn from this.
        command: How the run was asked for, for the report.
    """

    folder: Path
    quick: bool = False
    phases: tuple[str, ...] = tuple(PHASES)
    seed: int = 2013
    command: str = "lyredb demo"


def run(options: Options, *, quiet: bool = False) -> Report:
    """Runs the demo, and writes report.json, report.html and report.png.

    Args:
        options: What to run.
        quiet: Show nothing on the terminal.

    Raises:
        WrongAnswer: The database and pandas disagree.
        ConfigError: A package of the `demo` extra is not installed.
        OSError: The folder cannot be written.
    """
    begin = time.perf_counter()
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    options.folder.mkdir(parents=True, exist_ok=True)
    data = Data()
    blocks = _WARM_UP_BLOCKS + (_QUICK_BLOCKS if options.quick else _BLOCKS)
    phases = [PHASES[name](data, blocks, 0.1 if options.quick else 1.0, options.seed) for name in options.phases]
    with Display(phases, quiet=quiet) as display:
        display.doing("reading the data")
        line = summary(data)
        display.say(line)
        reports = [_run_phase(phase, options.folder / "databases", display) for phase in phases]
    seconds = round(time.perf_counter() - begin, 1)
    report = Report(options.command, started, seconds, options.quick, line, reports)
    (options.folder / "report.json").write_text(json.dumps(report.as_dict(), indent=2), encoding="utf-8")
    (options.folder / "report.html").write_text(webpage.render(report), encoding="utf-8")
    chart.draw(report, options.folder / "report.png")
    display.close_with(report, options.folder)
    return report


def _run_phase(phase: Phase, folder: Path, display: Display) -> PhaseReport:
    report = PhaseReport(
        phase.name,
        phase.title,
        phase.story,
        phase.operation,
        _changes(phase.preset),
        Figures(DEFAULT),
        Figures(phase.preset),
    )
    display.begin(phase)
    display.doing("asking pandas")
    phase.prepare()
    with _databases(phase, folder, report, display) as open_databases:
        blocks_done = 0
        for block in range(phase.blocks):
            # Default first, then preset first, and so on: drift of the machine hits both alike.
            order = report.both if block % 2 == 0 else report.both[::-1]
            for figures in order:
                database = open_databases[figures.settings]
                if phase.reopens:
                    database.close()
                    database = open_databases[figures.settings] = _open(folder, phase, figures.settings)
                timing = timed(phase.steps(database, block))
                phase.check(database, block, timing.answers)
                report.checked += timing.operations
                if block >= _WARM_UP_BLOCKS:
                    figures.rates.append(timing.rate)
                    figures.sampled_ns += timing.sampled_ns
                    figures.operations += timing.operations
                blocks_done += 1
                display.advance(report, blocks_done, 2 * phase.blocks)
        for database in open_databases.values():
            report.facts |= phase.finish(database)
            database.close()
        for figures in report.both:
            files = _path(folder, phase, figures.settings).rglob("*")
            figures.folder_bytes = sum(file.stat().st_size for file in files if file.is_file())
    display.end(report)
    return report


@contextmanager
def _databases(
    phase: Phase, folder: Path, report: PhaseReport, display: Display
) -> Generator[dict[str, Database], None, None]:
    """A new database, filled, for each choice of settings; all are removed in the end."""
    shutil.rmtree(folder, ignore_errors=True)
    opened: dict[str, Database] = {}
    try:
        for figures in report.both:
            display.doing(f"loading ({figures.settings})")
            opened[figures.settings] = _open(folder, phase, figures.settings)
            begin = time.perf_counter()
            phase.load(opened[figures.settings])
            opened[figures.settings].checkpoint()
            figures.load_seconds = time.perf_counter() - begin
        yield opened
    finally:
        for database in opened.values():
            database.close()
        shutil.rmtree(folder, ignore_errors=True)


def _open(folder: Path, phase: Phase, settings: str) -> Database:
    folder.mkdir(parents=True, exist_ok=True)
    return lyredb.open(_path(folder, phase, settings), preset=settings)


def _path(folder: Path, phase: Phase, settings: str) -> Path:
    return folder / f"{phase.name}-{settings}"


def _changes(preset: str) -> list[tuple[str, str, str]]:
    return [
        (each.tunable.name, page.show(each.tunable, each.default), page.show(each.tunable, each.preset))
        for each in presets.difference(preset)
    ]
