"""Curves as pictures: in the terminal, and by matplotlib."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from lyredb.db.errors import ConfigError
from lyredb.presets import format_size
from lyredb.tiering.plan import Plan, plan
from lyredb.tiering.reach import Points

if TYPE_CHECKING:
    from lyredb.tiering.manager import Status

_HEIGHT = 13
_MARGIN = 7
_DECADES = 3
_STYLES = {"leaves": ("•", "cyan"), "records": ("∘", "magenta")}
_COLOURS = {"hot": "#c8553d", "warm": "#e9a23b", "record": "#3d7ea6", "cold": "#d9d9d9"}
_NAMES = {"hot": "hot leaves", "warm": "warm leaves", "record": "point cache", "cold": "disk"}
_STEPS = 24


def _missed(points: Points, size: float) -> float:
    ratio = 1.0
    for at, value in points:
        if at > size:
            break
        ratio = value
    return ratio


def _span(present: Plan) -> tuple[float, float]:
    """From the smallest size to show to the largest."""
    ends = [size for each in present.curves for points in (each.leaves, each.records) for size, _ in points[-1:]]
    high = max([present.budget * 1.25, *(end * 1.1 for end in ends)])
    return high / 10**_DECADES, high


def lines(present: Plan, width: int) -> Text:
    """The busiest family's curves: the part of its accesses that memory for leaves alone, or records alone, misses."""
    busiest = present.curves[0]
    columns = max(width - _MARGIN - 1, 20)
    low, high = _span(present)
    sizes = [low * (high / low) ** (at / (columns - 1)) for at in range(columns)]
    cells = [[(" ", "")] * columns for _ in range(_HEIGHT)]
    mark = min(range(columns), key=lambda at: abs(sizes[at] - present.budget))
    for row in cells:
        row[mark] = ("┊", "dim")
    for name, points in (("records", busiest.records), ("leaves", busiest.leaves)):
        if len(points) > 1:
            heights = [round((1 - _missed(points, size)) * (_HEIGHT - 1)) for size in sizes]
            _trace(cells, heights, _STYLES[name])
    text = Text(f"misses of {busiest.name}, if memory were for ", no_wrap=True)
    for place, (name, (sign, colour)) in enumerate(_STYLES.items()):
        text.append(" or " if place else "")
        text.append(f"{sign} {name} alone", colour)
    text.append("; ")
    text.append("┊ what there is\n", "dim")
    for number, row in enumerate(cells):
        share = 1 - number / (_HEIGHT - 1)
        labelled = number % 3 == 0
        text.append(f"{share:>5.0%} " if labelled else " " * 6, "dim")
        text.append("┤" if labelled else "│", "dim")
        for sign, style in row:
            text.append(sign, style)
        text.append("\n")
    text.append(" " * 6 + "└" + "─" * columns + "\n", "dim")
    text.append(" " * _MARGIN + _scale(sizes, columns), "dim")
    return text


def _trace(cells: list[list[tuple[str, str]]], heights: Sequence[int], sign: tuple[str, str]) -> None:
    """A line through the heights, also where it falls steeply."""
    before = heights[0]
    for column, height in enumerate(heights):
        for row in range(min(before, height), max(before, height) + 1):
            if row == height or row != before:
                cells[row][column] = sign
        before = height


def _scale(sizes: Sequence[float], columns: int) -> str:
    """Round sizes where they stand."""
    scale = [" "] * columns
    free = 0
    exponent = math.ceil(math.log2(sizes[0]))
    while 2**exponent <= sizes[-1]:
        at = next(index for index, size in enumerate(sizes) if size >= 2**exponent)
        label = format_size(2**exponent)
        start = max(at - len(label) // 2, 0)
        if start >= free and start + len(label) <= columns:
            scale[start : start + len(label)] = label
            free = start + len(label) + 3
        exponent += 1
    return "".join(scale).rstrip()


def draw(status: Status, file: Path, *, title: str) -> None:
    """Writes the curves, and what is answered from where with more memory or less, as the file's suffix says.

    Raises:
        ConfigError: matplotlib is not installed, it does not know the format, or nothing was seen to draw.
    """
    present = status.plan
    if present is None or not present.curves:
        raise ConfigError("there are no curves to draw: no accesses were seen while memory was short")
    try:
        figures: Any = importlib.import_module("matplotlib.figure")
        tickers: Any = importlib.import_module("matplotlib.ticker")
    except ImportError:
        raise ConfigError("plots need matplotlib", suggestion="pip install 'lyredb[demo]'") from None
    figure = figures.Figure(figsize=(10, 7.6), layout="constrained")
    figure.suptitle(title, fontsize=13)
    above, below = figure.subplots(2, 1, sharex=True)
    low, high = _span(present)
    ratio = (high / low) ** (1 / (_STEPS - 1))
    sizes = [low * ratio**step for step in range(_STEPS)]
    _draw_curves(above, present, (low, high))
    _draw_hits(below, present, sizes)
    for axes in (above, below):
        axes.axvline(present.budget, color="#333333", linewidth=1, linestyle=":")
        axes.spines[["top", "right"]].set_visible(False)
        axes.yaxis.set_major_formatter(tickers.PercentFormatter(1.0))
        axes.set_ylim(0, 1)
    above.annotate(
        f"memory_bytes: {format_size(present.budget)}",
        (present.budget, 1.0),
        xytext=(-4, -10),
        textcoords="offset points",
        ha="right",
        fontsize=9,
    )
    below.set_xlim(low, high)
    below.set_xscale("log", base=2)
    below.xaxis.set_major_formatter(tickers.FuncFormatter(_label))
    below.set_xlabel("memory")
    try:
        figure.savefig(file, dpi=130)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _label(size: float, _: object) -> str:
    return format_size(round(size))


def _draw_curves(axes: Any, present: Plan, span: tuple[float, float]) -> None:
    low, high = span
    styles: list[tuple[str, Callable[[Any], Points], str]] = [
        ("leaves", lambda each: each.leaves, "-"),
        ("records", lambda each: each.records, "--"),
    ]
    for number, each in enumerate(present.curves):
        for name, points_of, style in styles:
            points = points_of(each)
            if len(points) > 1:
                xs = [low, *(size for size, _ in points if low < size < high), high]
                label = f"{each.name}: {name}"
                axes.step(
                    xs, [_missed(points, x) for x in xs], where="post", label=label, linestyle=style, color=f"C{number}"
                )
    axes.set_ylabel("missed, if memory were for\nleaves, or records, alone")
    axes.legend(frameon=False, fontsize=9)


def _draw_hits(axes: Any, present: Plan, sizes: Sequence[float]) -> None:
    plans = [plan(present.curves, present.costs, present.sizes, int(size), fixed=present.fixed) for size in sizes]
    shares = {name: [getattr(each.hits, name) for each in plans] for name in _NAMES}
    axes.stackplot(
        sizes, *shares.values(), labels=[_NAMES[name] for name in shares], colors=[_COLOURS[name] for name in shares]
    )
    axes.set_ylabel("answered from, by the best plan")
    axes.legend(frameon=True, framealpha=0.9, fontsize=9, loc="lower left")
