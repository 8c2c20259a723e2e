"""Runs the timeline: the phases one after the other, twice, in each all arms in turns."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lyredb.experiments.flights import chart, webpage
from lyredb.experiments.flights.arms import ARMS, Arm, loaded, scratch
from lyredb.experiments.flights.data import Data, numpy, summary
from lyredb.experiments.flights.display import Display
from lyredb.experiments.flights.follower import Follower
from lyredb.experiments.flights.phases import PHASES, Phase
from lyredb.experiments.flights.report import Report
from lyredb.experiments.flights.stopwatch import timed
from lyredb.experiments.flights.timeline import DEFAULT, TUNED, Block, Rounds, Segment, blocks_a_turn, segments

# When the timeline ends, after the start of the run: what is left by loading is divided among the segments.
_SECONDS, _QUICK_SECONDS = 270.0, 45.0
_QUICK_SCALE = 0.1
# So many rounds a segment has however slow the machine is.
_LEAST_ROUNDS = 2


@dataclass(frozen=True)
class Options:
    """What to run, and where.

    Attributes:
        folder: Takes the databases while they are worked on, and the report. It is made if it does not exist.
        quick: Small blocks and short segments: to see that it runs.
        phases: Names of `PHASES`.
        arms: Names of `ARMS`; the default is always among them.
        seconds: How long all of it takes about, loading too; None: as the demo does.
        seed: What is drawn at random is drawn from this.
        command: How the run was asked for, for the report.
    """

    folder: Path
    quick: bool = False
    phases: tuple[str, ...] = tuple(PHASES)
    arms: tuple[str, ...] = ARMS
    seconds: float | None = None
    seed: int = 2013
    command: str = "lyredb demo"


def run(options: Options, *, quiet: bool = False) -> Report:
    """Runs the demo, and writes report.json, report.html and report.png.

    Args:
        options: What to run.
        quiet: Show nothing on the terminal.

    Raises:
        WrongAnswer: A database and pandas disagree.
        ConfigError: A package of the `demo` extra is not installed.
        OSError: The folder cannot be written.
    """
    begin = time.perf_counter()
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    options.folder.mkdir(parents=True, exist_ok=True)
    data = Data()
    phases = [PHASES[name](data, _QUICK_SCALE if options.quick else 1.0) for name in options.phases]
    names = [name for name in ARMS if name in options.arms or name == DEFAULT]
    with Display(quiet=quiet) as display:
        display.doing("reading the data")
        report = Report(options.command, started, options.quick, summary(data), names, segments(options.phases))
        display.open_with(report)
        for phase in phases:
            display.doing(f"asking pandas ({phase.name})")
            phase.prepare()
        with scratch(options.folder / "databases") as folder, ExitStack() as opened:
            arms: dict[str, Arm] = {}
            for name in names:
                display.doing(f"loading ({name})")
                arms[name] = opened.enter_context(loaded(name, phases, folder))
                report.load_seconds[name] = round(arms[name].load_seconds, 2)
            _Timeline(options, report, phases, arms, display, begin=begin).run()
            display.doing("last checks")
            for arm in arms.values():
                for phase in phases:
                    phase.finish(arm.database, arm.mirror)
        display.doing("drawing")
        report.seconds = round(time.perf_counter() - begin, 1)
        (options.folder / "report.json").write_text(json.dumps(report.as_dict(), indent=2), encoding="utf-8")
        (options.folder / "report.html").write_text(webpage.render(report), encoding="utf-8")
        chart.draw(report, options.folder / "report.png")
    display.close_with(report, options.folder)
    return report


class _Timeline:
    """The work itself."""

    def __init__(
        self,
        options: Options,
        report: Report,
        phases: Sequence[Phase[Any]],
        arms: dict[str, Arm],
        display: Display,
        *,
        begin: float,
    ) -> None:
        self._seed = options.seed
        self._end = begin + (options.seconds or (_QUICK_SECONDS if options.quick else _SECONDS))
        self._report, self._display, self._arms = report, display, arms
        self._phases = {phase.name: phase for phase in phases}
        self._rounds = Rounds(list(arms), numpy.random.default_rng(options.seed))
        self._follower = Follower(arms[TUNED].database) if TUNED in arms else None

    def run(self) -> None:
        """All segments."""
        # What is there by now stays: nobody need look through it for garbage between two turns.
        gc.collect()
        gc.freeze()
        try:
            for segment in self._report.segments:
                self._run_segment(segment)
        finally:
            gc.unfreeze()

    def _run_segment(self, segment: Segment) -> None:
        begin = time.perf_counter()
        seconds = (self._end - begin) / (len(self._report.segments) - segment.number)
        passed = done = 0
        # Another round, if it ends nearer to the segment's end than the one before.
        while done < _LEAST_ROUNDS or passed + passed / done / 2 < seconds:
            self._run_round(segment, done)
            done += 1
            passed = time.perf_counter() - begin
            self._display.advance(segment, passed / max(passed, seconds))
        self._display.end(segment)

    def _run_round(self, segment: Segment, number: int) -> None:
        phase = self._phases[segment.phase]
        work = [
            phase.draw(numpy.random.default_rng((self._seed, segment.number, number, place)))
            for place in range(max(blocks_a_turn(name) for name in self._arms))
        ]
        for name in self._rounds.next(segment.phase):
            arm = self._arms[name]
            for place, block in enumerate(work[: blocks_a_turn(name)]):
                timing = timed(phase.steps(arm.database, arm.mirror, block))
                phase.check(arm.mirror, block, timing.answers)
                count = len(timing.answers)
                self._report.checked += count
                self._report.blocks.append(
                    Block(segment.number, number, place, name, timing.began, count, timing.seconds)
                )
            if name == TUNED and self._follower is not None:
                seen, decisions = self._follower.look(segment, phase.families, self._report.blocks)
                self._report.seen.append(seen)
                self._report.decisions.extend(decisions)
