"""The `lyredb` command.

Exit codes: 0, all is well; 1, the command ran and the answer is no (damage found, records lost, no such key, a
wrong answer in the demo); 2, wrong usage; 3, the database or the system refused.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import lyredb
from lyredb import presets
from lyredb.cli_autotune import autotune
from lyredb.cli_output import bar as _bar
from lyredb.cli_output import json_option as _json_option
from lyredb.cli_output import print_json as _print_json
from lyredb.cli_output import table as _table
from lyredb.cli_text import from_text, plain, shown, shown_range
from lyredb.presets import page

EXIT_NO = 1
EXIT_REFUSED = 3

Function = TypeVar("Function", bound=Callable[..., Any])


class _Size(click.ParamType[int]):
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else presets.parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Group(click.Group):
    """Tells what was refused in a line, not in a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except lyredb.Error as error:
            _refuse(ctx, error.message, _SUGGESTIONS.get(type(error), error.suggestion))
        except BrokenPipeError:
            raise
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            _refuse(ctx, f"{place}{error.strerror or error}", None)


def _refuse(ctx: click.Context, message: str, suggestion: str | None) -> NoReturn:
    click.echo(f"lyredb: {message}", err=True)
    if suggestion:
        click.echo(f"  what to do: {suggestion}", err=True)
    ctx.exit(EXIT_REFUSED)


def _family_option(function: Function) -> Function:
    option = click.option("--family", "-f", default=lyredb.DEFAULT_FAMILY, show_default=True, help="The family.")
    return option(function)


_WHEN_DAMAGED = "restore a backup, or save what can be read: lyredb salvage PATH DESTINATION"

# Where what the library suggests is Python.
_SUGGESTIONS: dict[type[lyredb.Error], str] = {
    lyredb.FamilyNotFoundError: "lyredb stats PATH shows the families there are",
    lyredb.NotADatabaseError: "give the path of a database; for backup, a destination that is empty or does not exist",
    lyredb.LockedError: "end the program that has it open",
    lyredb.CorruptionError: _WHEN_DAMAGED,
}

_path_argument = click.argument("path", type=click.Path(path_type=Path))


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(lyredb.__version__, package_name="lyredb")
def main() -> None:
    """LyreDB: an embedded, ordered, transactional key-value store.

    Commands that take a PATH open the database there, so no other process may have it open. None of them makes a
    database where there is none.
    """


# --- settings


@main.command()
@click.option("--markdown", is_flag=True, help="Print the documentation's page: docs/tunables.md.")
@_json_option
def tunables(as_json: bool, markdown: bool) -> None:
    """Every knob of the engine: its range, default and what it does."""
    if markdown:
        click.echo(page.render(), nl=False)
    elif as_json:
        _print_json([vars(each) for each in presets.tunables()])
    else:
        table = _table("name", "for the", "range", "default", "takes hold", "what it does")
        for each in presets.tunables():
            table.add_row(
                f"[bold]{each.name}[/]",
                each.scope,
                page.show_range(each),
                page.show(each, each.default),
                page.show_change(each),
                escape(each.description),
            )
        Console().print(table)


@main.command("presets")
@click.argument("name", required=False)
@click.option(
    "--memory", type=_Size(), metavar="SIZE", help='Scale to this much memory, e.g. "16 GiB", not to this machine\'s.'
)
@click.option("--cores", type=click.IntRange(min=1), help="Scale to this many cores.")
@_json_option
def show_presets(name: str | None, memory: int | None, cores: int | None, as_json: bool) -> None:
    """The presets; or, with a NAME, what that one sets and how it differs from the default."""
    if name is None:
        rows = [presets.load(each) for each in presets.names()]
        if as_json:
            _print_json([{"name": each.name, "summary": each.summary, "whom": each.whom} for each in rows])
            return
        table = _table("preset", "for", "whom it suits")
        for each in rows:
            table.add_row(f"[bold]{each.name}[/]", each.summary, each.whom)
        Console().print(table)
        return
    preset = presets.load(name)
    values = presets.resolve(name, memory_bytes=memory, cores=cores)
    differences = {each.tunable.name: each for each in presets.difference(name, memory_bytes=memory, cores=cores)}
    if as_json:
        _print_json(
            {
                "name": name,
                "summary": preset.summary,
                "whom": preset.whom,
                "settings": values,
                "differences": {
                    key: {"default": each.default, "preset": each.preset} for key, each in differences.items()
                },
                "why": {key: each.why for key, each in preset.settings.items()},
            }
        )
        return
    console = Console()
    console.print(f"[bold]{name}[/]: {preset.summary}\n[dim]{preset.whom}[/]\n", highlight=False)
    table = _table("setting", "default", name, "why")
    for key, setting in preset.settings.items():
        found = differences.get(key)
        usual = values[key] if found is None else found.default
        style = "dim" if found is None else "bold green"
        table.add_row(
            key,
            page.show(setting.tunable, usual),
            f"[{style}]{page.show(setting.tunable, values[key])}[/]",
            setting.why,
        )
    console.print(table)


# --- databases


@main.command()
@_path_argument
@_json_option
def stats(path: Path, as_json: bool) -> None:
    """Sizes and counters of a database and its families."""
    with _opened(path) as database:
        found = database.stats()
        settings = {name: database.settings(None if name == "" else name) for name in ("", *database.families())}
    if as_json:
        _print_json({**dataclasses.asdict(found), "settings": settings})
        return
    console = Console()
    console.print(_pairs(str(path), found.database))
    _print_quantiles(console, found.database_histograms)
    for family, counters in found.families.items():
        console.print(_pairs(f"family {family}", counters))
        _print_quantiles(console, found.family_histograms[family])


@main.command()
@_path_argument
@_json_option
def check(path: Path, as_json: bool) -> None:
    """Walk the whole database and tell what is wrong with it. Exit code 1 if anything is.

    Of each damaged page it tells the file, the byte, the family and the keys that are lost. What is too damaged to be
    opened is told as well.
    """
    try:
        with _opened(path) as database, _bar("checking", quiet=as_json) as progress:
            report = database.check(progress=progress)
    except lyredb.CorruptionError as error:
        _tell_unopenable(path, error, as_json)
        sys.exit(EXIT_NO)
    if as_json:
        _print_json({**vars(report), "problems": [_plain_problem(each) for each in report.problems], "ok": report.ok})
    else:
        _print_problems(report.problems)
        state = "sound" if report.ok else f"{len(report.problems)} problem{'' if len(report.problems) == 1 else 's'}"
        size = presets.format_size(report.bytes)
        click.echo(
            f"{path}: {state}; {report.families} families, {report.records:,} records, {report.pages:,} pages, {size}"
        )
        if not report.ok:
            click.echo(f"what to do: {_WHEN_DAMAGED}")
    if not report.ok:
        sys.exit(EXIT_NO)


@main.command()
@_path_argument
@click.argument("destination", type=click.Path(path_type=Path))
@click.option("--all", "save_all", is_flag=True, help="Also records that may be old copies, in families of their own.")
@_json_option
def salvage(path: Path, destination: Path, save_all: bool, as_json: bool) -> None:
    """Save what can be read of a damaged database into a new one, DESTINATION. Exit code 1 if anything is lost.

    The database at PATH is only read, and no program may have it open for writing. Records that are proven to be the
    newest go to their families, with names, settings and codecs as they were. With --all, records of lost ranges that
    may be old copies are saved too, in families named NAME-salvaged-1 and so on.
    """
    with _bar("salvaging", quiet=as_json) as progress:
        report = lyredb.salvage(path, destination, all=save_all, progress=progress)
    if as_json:
        _print_json(
            {
                "families": {name: vars(family) for name, family in report.families.items()},
                "problems": [_plain_problem(each) for each in report.problems],
                "lost_versions": report.lost_versions,
                "lost_values": [{"family": name, "key": plain(key)} for name, key in report.lost_values],
                "unplaced_records": report.unplaced_records,
                "ok": report.ok,
            }
        )
    else:
        _print_problems(report.problems)
        table = _table("family", "records saved", "known to be lost")
        for name, family in report.families.items():
            lost = f"[bold red]{family.lost_records:,}[/]" if family.lost_records else "0"
            table.add_row(escape(name), f"{family.records:,}", "may be old copies" if family.apart else lost)
        Console().print(table)
        if report.unplaced_records and not save_all:
            click.echo(
                f"{report.unplaced_records:,} more records in the file may be some of the lost ones, or old copies: "
                "--all saves them in families of their own"
            )
        click.echo(f"{destination}: " + ("all was saved" if report.ok else "what could be saved"))
    if not report.ok:
        sys.exit(EXIT_NO)


@main.command()
@_path_argument
@_json_option
def compact(path: Path, as_json: bool) -> None:
    """Give space that is not used any more back to the file system."""
    before = _folder_bytes(path)
    with _opened(path, read_only=False) as database, _bar("compacting", quiet=as_json) as progress:
        database.compact(progress=progress)
    after = _folder_bytes(path)
    if as_json:
        _print_json({"path": str(path), "bytes_before": before, "bytes_after": after})
    else:
        click.echo(f"{path}: {presets.format_size(before)} before, {presets.format_size(after)} now")


@main.command()
@_path_argument
@click.argument("destination", type=click.Path(path_type=Path))
@_json_option
def backup(path: Path, destination: Path, as_json: bool) -> None:
    """Copy a database to a new folder, DESTINATION."""
    with _opened(path, read_only=False) as database, _bar("copying", quiet=as_json) as progress:
        database.backup(destination, progress=progress)
    size = _folder_bytes(destination)
    if as_json:
        _print_json({"path": str(path), "destination": str(destination), "bytes": size})
    else:
        click.echo(f"{destination}: {presets.format_size(size)}")


# --- records


@main.command()
@_path_argument
@click.argument("key")
@_family_option
@_json_option
def get(path: Path, key: str, family: str, as_json: bool) -> None:
    """Print the value of KEY. Exit code 1 if there is none.

    A key is text, unless the family's keys are numbers or tuples: those are given as JSON: 7, '["x", 1]'.
    """
    with _opened(path) as database:
        records = database.existing_family(family)
        value = records.get(from_text(records.key_codec, key), _ABSENT)
    if value is _ABSENT:
        click.echo(f"lyredb: there is no key {key!r} in family {family!r}", err=True)
        sys.exit(EXIT_NO)
    if as_json:
        _print_json({"key": key, "value": plain(value)})
    elif isinstance(value, bytes):
        click.echo(value)
    else:
        click.echo(value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False))


@main.command()
@_path_argument
@click.argument("key")
@click.argument("value")
@_family_option
@click.option("--ttl", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Expire after so long.")
@_json_option
def put(path: Path, key: str, value: str, *, family: str, ttl: float | None, as_json: bool) -> None:
    """Store VALUE under KEY, in a database and a family that exist.

    Both are text where the family's codec is bytes or str, and JSON otherwise: 7, '["x", 1]', '{"item": "harp"}'.
    """
    with _opened(path, read_only=False) as database:
        records = database.existing_family(family)
        records.put(from_text(records.key_codec, key), from_text(records.value_codec, value), ttl=ttl)
    if as_json:
        _print_json({"key": key, "stored": True})


@main.command()
@_path_argument
@click.argument("key")
@_family_option
@_json_option
def delete(path: Path, key: str, family: str, as_json: bool) -> None:
    """Delete KEY. Exit code 1 if it was not there."""
    with _opened(path, read_only=False) as database:
        records = database.existing_family(family)
        deleted = records.delete(from_text(records.key_codec, key))
    if as_json:
        _print_json({"key": key, "deleted": deleted})
    elif not deleted:
        click.echo(f"lyredb: there is no key {key!r} in family {family!r}", err=True)
    if not deleted:
        sys.exit(EXIT_NO)


@main.command()
@_path_argument
@click.option("--start", help="The first key, as for get.")
@click.option("--stop", help="The key to stop before.")
@click.option("--prefix", help="Only keys that begin so.")
@click.option("--reverse", is_flag=True, help="From the last key to the first.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=100, show_default=True, help="So many records at most; 0: all."
)
@_family_option
@_json_option
def scan(
    path: Path,
    *,
    start: str | None,
    stop: str | None,
    prefix: str | None,
    reverse: bool,
    limit: int,
    family: str,
    as_json: bool,
) -> None:
    """Print records in the order of their keys. With --json, one object a line."""
    with _opened(path) as database:
        records = database.existing_family(family)
        codec = records.key_codec
        if prefix is not None and codec.name == "int":
            raise click.UsageError("the family's keys are numbers, which have no prefixes: give --start and --stop")
        first, last, begin = (None if text is None else from_text(codec, text) for text in (start, stop, prefix))
        for key, value in records.scan(first, last, prefix=begin, reverse=reverse, limit=limit or None):
            if as_json:
                click.echo(json.dumps({"key": plain(key), "value": plain(value)}, ensure_ascii=False))
            else:
                click.echo(f"{shown(key)}  {shown(value)}")


# --- tiering


@main.command()
@_path_argument
@click.option("--memory", type=_Size(), metavar="SIZE", help='How much memory to plan for, e.g. "200 MiB".')
@click.option("--seconds", type=click.FloatRange(min=0.5), default=6.0, show_default=True, help="How long to read.")
@click.option(
    "--trace",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Keys to read, one a line, as for get.",
)
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw the curves, e.g. as a PNG.")
@_family_option
@_json_option
def tiering(
    path: Path,
    *,
    memory: int | None,
    seconds: float,
    trace: Path | None,
    plot: Path | None,
    family: str,
    as_json: bool,
) -> None:
    """How memory would be divided among hot leaves, warm ones and single records, and what more of it would be worth.

    A database that is not in use has no accesses to plan from, so this reads it for some seconds: the keys of a
    --trace, over and over, or else its own keys, four of five times by Zipf's law (0.99) and once at random. These are
    found first, which takes 15 seconds at most: up to a million, evenly from all, or some from everywhere.
    Costs are those of this machine now, with what its system keeps of the file. Nothing is changed. The plot needs
    matplotlib.
    """
    from lyredb.tiering import chart, explanation, sample, trial  # noqa: PLC0415

    options: dict[str, Any] = {} if memory is None else {"memory_bytes": memory}
    with _opened(path, tiering=False, **options) as database:
        records = database.existing_family(family)
        if trace is None:
            with _bar("looking for keys", quiet=as_json) as progress:
                work = trial.Work.of_sample(sample.take(database, records, progress))
        else:
            lines = trace.read_text(errors="surrogateescape").splitlines()
            work = trial.Work.of_trace([from_text(records.key_codec, line) for line in lines])
        with _bar("reading", quiet=as_json) as progress:
            found = trial.run(database, records, work, seconds=seconds, progress=progress)
    status = found.status
    if plot is not None:
        chart.draw(status, plot, title=f"{path.name}: what memory is worth")
    if as_json:
        _print_json({**status.as_dict(), "based_on": found.based_on})
        return
    console = Console()
    console.print(f"based on {found.based_on}\n", highlight=False)
    console.print(explanation.table(status))
    if status.plan is not None and status.plan.curves:
        console.print("\n", chart.lines(status.plan, width=min(console.width, explanation.WIDTH)), sep="")


# --- tuning

main.add_command(autotune)


# --- the demo


@main.command()
@click.option("--quick", is_flag=True, help="Short segments of small blocks: to see that it runs, not how fast.")
@click.option(
    "--output",
    "--out",
    "output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("lyredb-demo"),
    show_default=True,
    help="The folder for the databases while it runs, and the report.",
)
@click.option("--seed", type=int, default=2013, show_default=True, help="What is drawn at random is drawn from this.")
@click.option(
    "--arms",
    metavar="NAMES",
    help="Only these, with commas between them, beside the default: tuned, or names of presets. All by default.",
)
@click.option("--phase", "chosen", multiple=True, metavar="NAME", help="Only this phase; may be repeated.")
@_json_option
def demo(*, quick: bool, output: Path, seed: int, arms: str | None, chosen: tuple[str, ...], as_json: bool) -> None:
    """Work that shifts, and a database that is tuned while it runs.

    Five phases of work on New York's flights of 2013, one after the other and then all again: look-ups and updates by
    key (oltp), expiring look-ups (cache), weather appended and read by window (timeseries), routes followed hop by hop
    (graph), aggregating scans (olap).

    One database does all of it with autotune=True; beside it, in turns of a second, one on the default settings and
    one on each fixed preset do the same work. The screen shows what the tuner takes the work for, what it changes and
    why, and how fast that is. Every answer is checked against pandas.

    Takes less than five minutes; writes report.html, report.png and report.json.
    """
    # pandas and the rest of the demo's packages are for this command only.
    from lyredb.experiments import flights  # noqa: PLC0415

    named = flights.ARMS if arms is None else tuple(arms.split(","))
    for names, known, option in ((chosen, flights.PHASES, "--phase"), (named, flights.ARMS, "--arms")):
        unknown = [name for name in names if name not in known]
        if unknown:
            raise click.BadParameter(f"{unknown[0]!r}; there are {', '.join(known)}", param_hint=option)
    options = flights.Options(
        folder=output,
        quick=quick,
        phases=chosen or tuple(flights.PHASES),
        arms=named,
        seed=seed,
        command=_command_line(),
    )
    try:
        report = flights.run(options, quiet=as_json)
    except flights.WrongAnswer as error:
        click.echo(f"lyredb demo: wrong answer: {error}", err=True)
        sys.exit(EXIT_NO)
    if as_json:
        _print_json(report.as_dict())


# --- helpers


_ABSENT = object()


def _command_line() -> str:
    return " ".join(["lyredb", *sys.argv[1:]])


def _opened(path: Path, *, read_only: bool = True, **options: Any) -> lyredb.Database[Any, Any]:
    try:
        return lyredb.open(path, create=False, read_only=read_only, **options)
    except FileNotFoundError as error:
        raise FileNotFoundError(error.errno, "there is no LyreDB database here", str(path)) from None


def _tell_unopenable(path: Path, error: lyredb.CorruptionError, as_json: bool) -> None:
    if as_json:
        problem = {"path": error.path, "offset": error.offset, "family": None, "what": error.message}
        _print_json({"problems": [{**problem, "start": None, "stop": None}], "ok": False})
        return
    click.echo(f"{path} cannot be opened: {error.message}")
    click.echo(f"what to do: {_WHEN_DAMAGED}")


def _plain_problem(problem: lyredb.Problem) -> dict[str, Any]:
    return {**vars(problem), "start": plain(problem.start), "stop": plain(problem.stop)}


def _print_problems(problems: list[lyredb.Problem]) -> None:
    for each in problems:
        place = each.path + (f" at byte {each.offset}" if each.offset is not None else "")
        about = [] if each.family is None else [f"family {each.family}"]
        if each.start is not None:
            about.append(shown_range(each.start, each.stop))
        click.echo(f"{place}: {each.what}" + (f" ({', '.join(about)})" if about else ""))


def _folder_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _pairs(title: str, counters: dict[str, int | float | str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False)
    for name, value in counters.items():
        if isinstance(value, str):
            shown = escape(value)
        elif name.endswith("bytes") and isinstance(value, int):
            shown = presets.format_size(value)
        else:
            shown = f"{value:,}"
        table.add_row(name, shown)
    return table


def _print_quantiles(console: Console, histograms: dict[str, lyredb.Histogram]) -> None:
    """A table of those that hold something, if any does: one just opened has measured little."""
    measured = {name: histogram for name, histogram in histograms.items() if histogram.count}
    if not measured:
        return
    table = _table("", "unit", "measured", "mean", "p50", "p99", "p99.9")
    for name, histogram in measured.items():
        marks = (histogram.mean, *(histogram.percentile(percent) for percent in (50, 99, 99.9)))
        table.add_row(name, histogram.unit, f"{histogram.count:,}", *(f"{mark:.3g}" for mark in marks))
    console.print(table)
