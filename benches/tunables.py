"""`python -m benches.tunables`: what each tunable of the engine does, measured where it matters.

Ends with status 1 if a tunable has no work here, or makes no difference in it.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

import lyredb
from lyredb import _engine

from .run import Circumstances, add_files, circumstances, write_files
from .summary import Spread
from .tunable_works import QUICK, WORKS, Figures, Sizes, Value

LEAST_EFFECT = 0.05

METHOD = """\
Each round measures every tunable at each of its values, the values one after the other in random order, each with a
database of its own that holds {records:,} records of 16 + 100 bytes or a part of them, all other settings at their
defaults. A figure is the median of {rounds} rounds (least to greatest). A tunable has an effect if the medians of
one of its figures differ by more than {least:.0%} between two values and their ranges do not overlap. What is read
from the file comes from the system's cache of files."""


@dataclass(frozen=True)
class Sample:
    round: int
    tunable: str
    value: Value
    figures: Figures


@dataclass(frozen=True)
class Effect:
    """The largest difference that a tunable makes: `ratio` of the greatest to the least median of a measure."""

    tunable: str
    measure: str
    ratio: float


@dataclass(kw_only=True)
class Run(Circumstances):
    sizes: Sizes
    tunables: list[str]
    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0.0

    def spread(self, tunable: str, value: Value, measure: str) -> Spread:
        return Spread.of(
            sample.figures[measure] for sample in self.samples if (sample.tunable, sample.value) == (tunable, value)
        )

    def effect(self, tunable: str) -> Effect | None:
        found = [
            Effect(tunable, measure, ratio)
            for measure in WORKS[tunable].measures
            if (ratio := largest_ratio([self.spread(tunable, value, measure) for value in WORKS[tunable].values]))
        ]
        return max(found, key=lambda effect: effect.ratio, default=None)

    def without_effect(self) -> list[str]:
        return [tunable for tunable in self.tunables if self.effect(tunable) is None]


def registered() -> dict[str, Any]:
    return {tunable["name"]: tunable for tunable in _engine.tunables()}


def largest_ratio(spreads: list[Spread]) -> float | None:
    """Of two medians, if it is large enough to count and no accident."""
    ratios = [
        high.median / low.median
        for low in spreads
        for high in spreads
        if low.median > 0 and high.median > (1 + LEAST_EFFECT) * low.median and high.low > low.high
    ]
    return max(ratios, default=None)


def measure(run: Run, folder: Path, console: Console) -> None:
    order = random.Random(run.sizes.seed)
    for number in range(1, run.sizes.rounds + 1):
        for tunable in run.tunables:
            values = list(WORKS[tunable].values)
            order.shuffle(values)
            for value in values:
                database = folder / "database"
                try:
                    figures = WORKS[tunable].run(value, run.sizes, database)
                finally:
                    shutil.rmtree(database, ignore_errors=True)
                if figures.keys() != WORKS[tunable].measures.keys():
                    raise AssertionError(f"{tunable}: figures {list(figures)}, not those it declares")
                run.samples.append(Sample(number, tunable, value, figures))
                told = ", ".join(f"{name} {figure:,.4g}" for name, figure in figures.items())
                console.print(f"round {number}: {tunable} {value}: {told}", highlight=False, soft_wrap=True)


# The report


def _number(figure: float) -> str:
    if figure >= 1e6:
        return f"{figure / 1e6:,.2f} M"
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def _cell(spread: Spread) -> str:
    if spread.rounds == 1:
        return _number(spread.median)
    return f"{_number(spread.median)} ({_number(spread.low)} to {_number(spread.high)})"


def _rows(table: Iterable[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in table]
    return [lines[0], "|" + " --- |" * lines[0].count(" | ") + " --- |", *lines[1:]]


def _value(tunable: str, value: Value) -> str:
    known = registered()[tunable]
    text = f"{value:,}" if isinstance(value, int) else value
    return f"{text} (default)" if value == known["default"] else text


def _section(run: Run, tunable: str) -> list[str]:
    known, work = registered()[tunable], WORKS[tunable]
    heads = [f"{tunable} ({known['unit']})" if known["unit"] else tunable]
    heads += [f"{name}, {unit}" for name, unit in work.measures.items()]
    table = [heads]
    for value in work.values:
        spreads = [run.spread(tunable, value, name) for name in work.measures]
        table.append([_value(tunable, value), *(_cell(spread) for spread in spreads)])
    effect = run.effect(tunable)
    told = "**No effect.**" if effect is None else f"Largest effect: {effect.ratio:.2f}x in {effect.measure}."
    return [f"## `{tunable}`", "", f"{known['description']} {told}", "", *_rows(table), ""]


def as_markdown(run: Run) -> str:
    told = run.machine
    lines = [
        "# What the tunables do",
        "",
        f"LyreDB {lyredb.__version__}, {run.started}, {run.seconds / 60:.1f} minutes. {told['processor']}, "
        f"{told['cores']} cores, {told['file_system']}, {told['python']}, {told['system']}; load average "
        f"{told['load_average_at_start']} before.",
        "",
    ]
    for tunable in run.tunables:
        lines += _section(run, tunable)
    sizes = run.sizes
    lines += ["## Method", "", METHOD.format(records=sizes.records, rounds=sizes.rounds, least=LEAST_EFFECT), ""]
    lines += ["    " + " ".join(run.command), ""]
    return "\n".join(lines)


def as_json(run: Run) -> dict[str, Any]:
    effects = [run.effect(tunable) for tunable in run.tunables]
    return {
        "format": 1,
        "version": lyredb.__version__,
        "started": run.started,
        "seconds": run.seconds,
        "command": run.command,
        "machine": run.machine,
        "sizes": asdict(run.sizes),
        "samples": [asdict(sample) for sample in run.samples],
        "figures": [
            {"tunable": tunable, "value": value, "measure": name, "unit": unit}
            | asdict(run.spread(tunable, value, name))
            for tunable in run.tunables
            for value in WORKS[tunable].values
            for name, unit in WORKS[tunable].measures.items()
        ],
        "effects": [asdict(effect) for effect in effects if effect is not None],
        "without_effect": run.without_effect(),
        "without_work": without_work(),
    }


def without_work() -> list[str]:
    return [name for name in registered() if name not in WORKS]


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in WORKS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; choose from {', '.join(WORKS)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benches.tunables", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, choices=range(1, 100), metavar="N", help=f"rounds (default {Sizes().rounds})")
    add("--only", type=_names, metavar="TUNABLE,...", help=f"of {', '.join(WORKS)}")
    add("--quick", action="store_true", help="small and short, to see that all of it runs")
    add_files(parser)
    add("--folder", type=Path, metavar="DIR", help="where the databases live (default: temporary)")
    return parser


def main() -> int:
    arguments = _parser().parse_args()
    console = Console(stderr=True)
    sizes = QUICK if arguments.quick else Sizes()
    if arguments.rounds is not None:
        sizes = replace(sizes, rounds=arguments.rounds)
    missing = without_work()
    for name in missing:
        console.print(f"{name} is registered but has no work here", style="red")
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lyredb-tunables-", dir=arguments.folder) as folder:
        run = Run(
            sizes=sizes,
            tunables=arguments.only or [name for name in WORKS if name in registered()],
            **circumstances("benches.tunables", Path(folder)),
        )
        start = time.perf_counter()
        measure(run, Path(folder), console)
        run.seconds = time.perf_counter() - start
    tables = as_markdown(run)
    write_files(arguments, as_json(run), tables)
    print(tables)
    flat = run.without_effect()
    for name in flat:
        console.print(f"{name} shows no effect", style="red")
    return 1 if missing or flat else 0


if __name__ == "__main__":
    sys.exit(main())
