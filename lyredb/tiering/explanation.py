"""What a plan is, and why, as text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from lyredb.presets import format_size
from lyredb.tiering.plan import Plan

if TYPE_CHECKING:
    from lyredb.tiering.manager import Status

WIDTH = 100

_TIERS = (
    ("hot", "hot", "leaves to read in place"),
    ("warm", "warm", "leaves as they are stored"),
    ("record", "point cache", "single records"),
)


def text(status: Status) -> str:
    """As `Database.tiering.explain` returns it."""
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(table(status))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def table(status: Status) -> RenderableType:
    """The same for a terminal."""
    used = sum(status.used.values())
    lines: list[RenderableType] = [
        f"[bold]memory[/] {format_size(used)} of {format_size(status.budget)}; {_since(status)}",
        "",
        _tiers(status),
    ]
    lines += [
        f"pinned: {escape(repr(pin.prefix))} of {escape(pin.family)}, {format_size(pin.bytes)}" for pin in status.pins
    ]
    if status.plan is not None:
        lines += ["", _why(status.plan), "", *_families(status.plan), _outlook(status)]
    return Group(*lines)


def _since(status: Status) -> str:
    state = "; no further plans: paused" if status.paused else ""
    if status.plan is None or status.age is None:
        return f"no plan was made yet: all leaves are hot{state}"
    taken = "no other plan was taken" if status.plans == 0 else f"plans taken: {status.plans}"
    return f"planned {status.age:.0f} s ago; {taken}{state}"


def _tiers(status: Status) -> Table:
    plan, gets = status.plan, max(sum(status.answered.values()), 1)
    rows = _grid("", "now", "planned", "answers", "expected", "takes", "")
    for key, name, what in _TIERS:
        held = status.used["point_cache" if key == "record" else key]
        planned, expected, takes, note = "", "", "", what
        if plan is not None:
            field = "point_cache" if key == "record" else key
            planned = format_size(getattr(plan.tiers, field))
            expected, takes = _percent(getattr(plan.hits, key)), duration(getattr(plan.costs, key))
            note = what if getattr(plan.fixed, field) is None else "set by you"
        answered = _percent(status.answered[key] / gets)
        rows.add_row(f"[bold]{name}[/]", format_size(held), planned, answered, expected, takes, note)
    rows.add_row(
        "[bold]disk[/]",
        "",
        "",
        _percent(status.answered["cold"] / gets),
        "" if plan is None else _percent(plan.hits.cold),
        "" if plan is None else duration(plan.costs.cold),
        "",
    )
    other = "" if plan is None else format_size(plan.sizes.overhead)
    rows.add_row("[bold]always[/]", format_size(status.used["other"]), other, "", "", "", "inner pages, references")
    return rows


def _why(plan: Plan) -> str:
    sizes = plan.sizes
    return (
        f"An access is expected to take {duration(plan.cost)}. A leaf takes {format_size(int(sizes.image))} hot and "
        f"{format_size(int(sizes.stored))} warm,\na record in the point cache {format_size(int(sizes.record))}."
        + ("" if plan.replaces else " No other division is cheaper by 3 %, so it stays as it is.")
    )


def _families(plan: Plan) -> list[RenderableType]:
    if not plan.families:
        return ["No accesses were seen: they are looked at from when memory is short."]
    rows = _grid("family", "accesses", "point reads", "hot", "warm", "point cache", "disk")
    everything = sum(each.accesses for each in plan.curves)
    for each in plan.curves:
        hits = plan.families[each.name]
        shares = (each.accesses / everything, each.point_reads, hits.hot, hits.warm, hits.record, hits.cold)
        rows.add_row(escape(each.name), *map(_percent, shares))
    return [rows, ""]


def _outlook(status: Status) -> Table:
    rows = _grid("with memory of", "an access takes", "hot", "warm", "point cache", "disk")
    for plan in (status.plan, *status.outlook):
        if plan is None or status.plan is None:
            continue
        more = plan.budget / status.plan.budget - 1
        name = format_size(plan.budget) + ("" if plan is status.plan else f", {more:+.0%}")
        hits = (plan.hits.hot, plan.hits.warm, plan.hits.record, plan.hits.cold)
        rows.add_row(name, duration(plan.cost), *map(_percent, hits))
    return rows


def _grid(*columns: str) -> Table:
    rows = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for place, column in enumerate(columns):
        # Where there is little room, remarks wrap, so that no figure is cut off.
        remark = place > 0 and not column
        rows.add_column(column, justify="left" if place == 0 or remark else "right", no_wrap=not remark)
    return rows


def _percent(share: float) -> str:
    return f"{share:.1%}"


def duration(seconds: float) -> str:
    """A short time, in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"
