"""`lyredb autotune`: what recognises workloads, made and evaluated."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from lyredb import extras, presets
from lyredb.cli_output import bar, json_option, print_json
from lyredb.cli_output import table as plain_table

_EXTRA = "autotune"


@click.group()
def autotune() -> None:
    """How work is recognised for automatic tuning: make its table anew, or see how good it is.

    Neither is needed to use lyredb.open(path, autotune=True): the package comes with a table. Both take
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
    console = Console()
    for grid in grids:
        shown = plain_table(*grid.columns)
        for row in grid.rows:
            shown.add_row(*row)
        console.print(f"[bold]{grid.title}[/]", highlight=False)
        console.print(shown, "", sep="\n")
