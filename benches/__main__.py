"""`python -m benches`: measure LyreDB beside its peers."""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .arguments import names, positive
from .report import Run, as_markdown, as_table
from .run import add_files, circumstances, write_files
from .runner import Runner, Sample
from .settings import QUICK, Settings
from .stores import STORES, installed
from .summary import SUBJECT
from .workloads import WORKLOADS

WIDE = 180


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    add = parser.add_argument
    add("--records", type=positive, metavar="N", help="records loaded (default 1,000,000)")
    add("--rounds", type=positive, metavar="N", help="rounds (default 5)")
    add("--minutes", type=positive, metavar="N", help="begin no work later than this")
    add("--operations", type=positive, metavar="N", help="most operations in a timed loop")
    add("--reopen-bytes", type=positive, metavar="N", help="data in the reopening test")
    add(
        "--only",
        type=lambda text: names(WORKLOADS, text),
        metavar="WORK,...",
        help=f"of {', '.join(WORKLOADS)}",
    )
    add(
        "--stores",
        type=lambda text: names(STORES, text),
        metavar="STORE,...",
        help=f"of {', '.join(STORES)}",
    )
    add("--quick", action="store_true", help="small and short, to see that all of it runs")
    add_files(parser)
    add("--folder", type=Path, metavar="DIR", help="where the stores live (default: temporary)")
    return parser


def _settings(arguments: argparse.Namespace) -> Settings:
    settings = QUICK if arguments.quick else Settings()
    given = {
        name: value
        for name in ("records", "rounds", "operations", "reopen_bytes")
        if (value := getattr(arguments, name)) is not None
    }
    return replace(settings, **given)


def _run(run: Run, runner: Runner, until: float, console: Console) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        folders = runner.folders()
        preparing = progress.add_task("loading", total=len(folders))
        for store, records in folders:
            progress.update(preparing, description=f"loading {store} ({records:,} records)")
            failure = runner.prepare(store, records)
            if failure is not None:
                progress.console.print(f"{store} could not be loaded: {failure}", style="red")
            progress.advance(preparing)
        progress.update(preparing, description="loaded")

        total = len(runner.pairs()) * run.settings.rounds
        measuring = progress.add_task("measuring", total=total)

        def report(work: str, store: str, number: int, sample: Sample | None) -> None:
            if sample is None:
                progress.update(measuring, description=f"round {number}: {work}, {store}")
                return
            progress.advance(measuring)
            if sample.error is not None:
                progress.console.print(f"{work}, {store}: {sample.error}", style="red")
            elif not console.is_terminal:
                # No bar moves in a log: a line a measurement says how far it is.
                figures = ", ".join(f"{name} {value:,.4g}" for name, value in sample.figures.items())
                progress.console.print(f"round {number}: {work}, {store}: {figures}")

        try:
            runner.run(report, until)
        except KeyboardInterrupt:
            progress.console.print("stopped: what was measured until here follows", style="yellow")
    run.samples = runner.samples
    run.settings = replace(run.settings, rounds=max((sample.round for sample in run.samples), default=0))


def main() -> int:
    arguments = _parser().parse_args()
    console = Console(stderr=True)
    settings = _settings(arguments)
    versions, left_out = installed(arguments.stores or STORES)
    for name, why in left_out.items():
        console.print(f"{name} is left out: {why}", style="yellow")
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lyredb-bench-", dir=arguments.folder) as folder:
        run = Run(
            **circumstances("benches", Path(folder)),
            settings=settings,
            versions=versions,
            left_out=left_out,
        )
        runner = Runner(settings, arguments.only or list(WORKLOADS), list(versions), Path(folder))
        if not runner.pairs():
            console.print("nothing to measure: no store can do any of the works", style="red")
            return 2
        start = time.perf_counter()
        _run(run, runner, start + 60 * (arguments.minutes or math.inf), console)
        run.seconds = time.perf_counter() - start
    write_files(arguments, run.as_dict(), as_markdown(run))
    # A pipe has no width to fit.
    Console(width=None if sys.stdout.isatty() else WIDE).print(as_table(run))
    for sample in run.failures:
        console.print(f"failed: {sample.work}, {sample.store}: {sample.error}", style="red")
    # A run that was to measure LyreDB and could not is no success.
    return 1 if run.failures or SUBJECT in run.left_out else 0


if __name__ == "__main__":
    sys.exit(main())
