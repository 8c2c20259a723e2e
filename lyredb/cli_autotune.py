"""`lyredb autotune`: what recognises workloads, made and evaluated."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from lyredb import extras, presets
from lyredb.cli_output import bar, json_option, print_json
from lyredb.cli_output import table as plain_table

if TYPE_CHECKING:
    from lyredb.autotune.evaluation_text import Grid

_EXTRA = "autotune"
_EXIT_NOT_MEASURED = 1


@click.group()
def autotune() -> None:
    """How work is recognised for automatic tuning: make its table anew, see how good it is; and what tuning reaches.

    None of it is needed to use lyredb.open(path, autotune=True): the package comes with a table. All take
    pip install 'lyredb[autotune]'.
    """


def _need(*packages: str) -> None:
    for package in packages:
        extras.required(package, extra=_EXTRA)


def _one_more_than_cores() -> int:
    return presets.this_machine().cores + 1


_processes = click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=_one_more_than_cores,
    show_default="one more than there are cores",
    help="How many workloads run at once. What is seen of work does not depend on how fast it is.",
)


@autotune.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("windows.npz"),
    show_default=True,
    help="The file to write.",
)
@click.option("--workloads", "count", type=click.IntRange(min=10), help="How many to run.  [default: 840]")
@click.option("--seconds", type=click.FloatRange(min=0.5), help="How long to look at each.  [default: 3]")
@click.option("--quick", is_flag=True, help="40 workloads, two seconds each: to see that it runs.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=2026, show_default=True, help="Workloads are drawn from it."
)
@_processes
@json_option
def train(
    out: Path, *, count: int | None, seconds: float | None, quick: bool, seed: int, processes: int, as_json: bool
) -> None:
    """Make the table of windows that work is recognised by.

    Runs some hundred workloads, each in a database of its own in the folder for temporary files: YCSB's mixes and
    transactions, scans that aggregate, caches, time series, graphs, mixtures of two of these, and work that is none of
    them, with all sorts of sizes, skews, threads, keys and settings. Four times a second the engine is asked what
    happened, as automatic tuning does. Takes about twenty minutes on two cores.
    """
    _need("numpy")
    from lyredb.autotune import training  # noqa: PLC0415

    with bar("running workloads", quiet=as_json) as progress:
        made = training.train(
            count=count or (40 if quick else 840),
            seconds=seconds or (2.0 if quick else 3.0),
            seed=seed,
            processes=processes,
            progress=progress,
        )
    made.save(out)
    facts = {"path": str(out), "windows": len(made), "workloads": len(made.digests), "bytes": out.stat().st_size}
    if as_json:
        print_json(facts)
    else:
        click.echo(f"{out}: {len(made):,} windows of {len(made.digests)} workloads")


@autotune.command()
@click.option(
    "--table",
    "path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A table that train made, instead of the package's.",
)
@click.option("--quick", is_flag=True, help="Shorter timelines: two minutes in all instead of ten.")
@click.option(
    "--traces",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Replay the real traces there, as caches (*.trace.gz, *.trace.xz, *.csv.gz).",
)
@click.option("--phases", is_flag=True, help="Run the demo's phases too, which takes pip install 'lyredb[demo]'.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Timelines are drawn from it.")
@_processes
@click.option("--markdown", is_flag=True, help="Print tables as the documentation has them.")
@json_option
def evaluate(
    path: Path | None,
    *,
    quick: bool,
    traces: Path | None,
    phases: bool,
    seed: int,
    processes: int,
    markdown: bool,
    as_json: bool,
) -> None:
    """How well work is recognised, and its changes noticed.

    Fits on four in five of the table's workloads and asks about the others, five times over: how often each kind is
    taken for which, the main kind of mixtures, work of no kind. Then runs new workloads one after the other and counts
    how many windows of 250 ms an alarm takes, and how many alarms are false. The demo's phases and real traces were
    never fitted on. Intervals have the figure in 19 of 20 cases; they are over workloads, not windows.
    """
    _need("numpy", "sklearn")
    from lyredb.autotune import evaluation, evaluation_text, table  # noqa: PLC0415

    errors = Console(stderr=True)
    found = evaluation.evaluate(
        table.load(path),
        quick=quick,
        processes=processes,
        seed=seed,
        traces=traces,
        phases=phases,
        say=lambda what: None if as_json else errors.print(f"{what} ..."),
    )
    if as_json:
        print_json(found.as_dict())
        return
    grids = evaluation_text.grids(found)
    if markdown:
        click.echo("\n".join(grid.markdown() for grid in grids), nl=False)
        return
    _print_grids(Console(), grids)


_JUDGED = ("recognition", "timeline", "families", "overhead", "safety", "presets")
_PAGE = Path("docs", "autotune.md")


@autotune.command()
@click.option("--quick", is_flag=True, help="Shorter, and the timeline once: some eight minutes instead of forty.")
@click.option("--only", metavar="PARTS", help=f"Only these, with commas between them: {', '.join(_JUDGED)}.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="All work is drawn from it.")
@click.option("--json", "out", type=click.Path(path_type=Path, dir_okay=False), help="Write all that was found there.")
@click.option(
    "--markdown",
    "page",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    is_flag=False,
    flag_value=str(_PAGE),
    metavar="[PAGE]",
    help=f"Put the tables into a page, between its two comments for them.  [{_PAGE}]",
)
@_processes
def judge(*, quick: bool, only: str | None, seed: int, out: Path | None, page: Path | None, processes: int) -> None:
    """Measure what automatic tuning is wanted to reach.

    How well work is recognised; a tuned database on the demo's timeline, beside the default and each preset; three
    families used at once; what it costs to be observed; contests of equals, and settings that are really bad; each
    preset on its own workload. Tells each figure with its interval, what is wanted, and whether it is reached.

    The machine must have nothing else to do. Ends with status 1 if something could not be measured; goals that
    are not reached do not change the status. Takes pip install 'lyredb[autotune,demo]'.
    """
    parts = tuple(_JUDGED if only is None else only.split(","))
    for name in parts:
        if name not in _JUDGED:
            raise click.BadParameter(f"{name!r}; there are {', '.join(_JUDGED)}", param_hint="--only")
    _need("numpy", "sklearn", "optuna")
    from lyredb.autotune import judging  # noqa: PLC0415
    from lyredb.autotune.judging import text  # noqa: PLC0415

    for package in dict.fromkeys(package for name in parts for package in judging.NEEDS.get(name, ())):
        extras.required_folder(package, extra="demo")
    # What was measured for long is not to be lost for want of a place.
    if page is not None:
        text.section(page)
    if out is not None:
        out.touch()
    with _bars(parts) as progress:
        found = judging.judge(
            quick=quick,
            seed=seed,
            processes=processes,
            command=_command(quick=quick, only=only, seed=seed),
            only=parts,
            progress=progress,
        )
    console = Console()
    _print_grids(console, [*text.details(found), *text.summary(found)])
    for note in text.notes(found):
        console.print(note, highlight=False, markup=False)
    if out is not None:
        out.write_text(json.dumps(found.as_dict(), indent=2, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    if page is not None:
        text.write_section(page, found)
    if found.failures:
        sys.exit(_EXIT_NOT_MEASURED)


def _command(*, quick: bool, only: str | None, seed: int) -> str:
    """What makes the same judgement again; where it is written plays no part."""
    options = [*(["--quick"] if quick else []), *([f"--only {only}"] if only else [])]
    return " ".join(["lyredb autotune judge", *options, f"--seed {seed}"])


@contextmanager
def _bars(parts: Sequence[str]) -> Generator[Callable[[str, int, int], None]]:
    """A progress bar for each part, on the error stream; where that is no terminal, a line as each begins."""
    errors = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as progress:
        tasks = {name: progress.add_task(name, total=None, start=False) for name in parts}

        def report(name: str, done: int, total: int) -> None:
            if not total:
                progress.start_task(tasks[name])
                if not errors.is_terminal:
                    errors.print(f"{name} ...", highlight=False)
                return
            progress.update(tasks[name], completed=done, total=total)

        yield report


def _print_grids(console: Console, grids: Iterable[Grid]) -> None:
    for grid in grids:
        shown = plain_table(*grid.columns)
        for row in grid.rows:
            shown.add_row(*row)
        console.print(f"[bold]{grid.title}[/]", highlight=False)
        console.print(shown, "", sep="\n")
