"""The report's plot, as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lyredb.experiments.extras import required
from lyredb.experiments.flights.course import COLOURS, FAINT, GRID, INK, LEAST, Stretch, bounds, course, notable, ticks
from lyredb.experiments.flights.report import Report
from lyredb.experiments.flights.shown import show_machine, show_ratio
from lyredb.experiments.flights.timeline import DEFAULT, TUNED

_MARKS = {
    "shift": ("|", FAINT),
    "applied": ("^", COLOURS[TUNED]),
    "recalled": ("^", COLOURS[TUNED]),
    "accepted": ("*", "#1a7f4b"),
    "rejected": ("x", FAINT),
    "rollback": ("v", "#b42318"),
}


def draw(report: Report, file: Path) -> None:
    """Writes the plot: above, the timeline; below, bars for each phase and for all work."""
    matplotlib = required("matplotlib")
    figures_module = required("matplotlib.figure")
    style = {"font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "axes.labelcolor": FAINT}
    with matplotlib.rc_context(style):
        figure = figures_module.Figure(figsize=(14, 8.6), dpi=130, facecolor="white")
        columns = len(report.phases) + 1
        grid = figure.add_gridspec(2, columns, height_ratios=(1.45, 1), hspace=0.33, wspace=0.12)
        _draw_timeline(figure.add_subplot(grid[0, :]), report)
        first: Any = None
        for column, phase in enumerate([*report.phases, None]):
            first = axis = figure.add_subplot(grid[1, column], sharey=first)
            _draw_bars(axis, report, phase, labelled=column == 0)
        figure.suptitle(
            "One database tuned while it works, beside the default and fixed presets",
            x=0.045,
            y=0.975,
            ha="left",
            fontsize=15,
            weight="bold",
        )
        figure.text(
            0.045,
            0.018,
            f"New York's flights of 2013; all {report.checked:,} answers agree with pandas. "
            f"Whiskers: 95 % by bootstrap. {show_machine(report.machine)}.",
            color=FAINT,
            fontsize=8,
        )
        figure.subplots_adjust(left=0.07, right=0.985, top=0.885, bottom=0.13)
        figure.savefig(file)


def _draw_timeline(axis: Any, report: Report) -> None:
    stretches = course(report)
    low, high = bounds(stretches)
    axis.set_yscale("log")
    axis.set_ylim(low, high)
    axis.set_xlim(0, stretches[-1].end)
    for place, stretch in enumerate(stretches):
        if place % 2 == 0:
            axis.axvspan(stretch.begin, stretch.end, color="#f3f5f8", zorder=0)
        axis.text(
            (stretch.begin + stretch.end) / 2,
            1.015,
            stretch.segment.phase,
            transform=axis.get_xaxis_transform(),
            ha="center",
            va="bottom",
            weight="bold",
        )
        for preset, ratio in stretch.presets.items():
            axis.plot((stretch.begin, stretch.end), (ratio, ratio), color=COLOURS[preset], linewidth=1.1, alpha=0.75)
        if stretch.line:
            axis.plot(*zip(*stretch.line, strict=True), color=COLOURS[TUNED], linewidth=2.4, zorder=4)
    axis.axhline(1.0, color=COLOURS[DEFAULT], linewidth=1.6, zorder=2)
    axis.axhline(LEAST, color="#b42318", linewidth=0.8, linestyle=(0, (4, 4)), zorder=2)
    _mark_decisions(axis, report)
    _label(axis, stretches, low, high, report)


def _mark_decisions(axis: Any, report: Report) -> None:
    for each in notable(report):
        mark, colour = _MARKS[each.decision.kind]
        axis.plot(
            each.own_seconds,
            0.035,
            marker=mark,
            color=colour,
            markersize=6,
            linestyle="none",
            transform=axis.get_xaxis_transform(),
            clip_on=False,
            zorder=5,
        )


def _label(axis: Any, stretches: Sequence[Stretch], low: float, high: float, report: Report) -> None:
    marks = ticks(low, high)
    axis.set_yticks(marks, [f"{mark:g}x" for mark in marks])
    axis.minorticks_off()
    axis.set_ylabel("speed over the default's")
    axis.set_xlabel("seconds of the tuned database's own work" if stretches[0].line else "seconds of work")
    axis.grid(axis="y", color=GRID, linewidth=0.6, zorder=1)
    axis.tick_params(length=0, colors=FAINT)
    for side in axis.spines.values():
        side.set_visible(False)
    lines = [(arm, COLOURS[arm]) for arm in report.arms]
    handles = [axis.plot([], [], color=colour, linewidth=2.4 if arm == TUNED else 1.4)[0] for arm, colour in lines]
    names = [arm if arm in (TUNED, DEFAULT) else f"preset {arm}" for arm, _ in lines]
    for kind in dict.fromkeys(each.decision.kind for each in notable(report)):
        mark, colour = _MARKS[kind]
        handles.append(axis.plot([], [], marker=mark, color=colour, linestyle="none")[0])
        names.append(kind)
    axis.legend(
        handles, names, loc="lower right", bbox_to_anchor=(1.0, 1.07), ncols=len(names), frameon=False, fontsize=8
    )


def _draw_bars(axis: Any, report: Report, phase: str | None, *, labelled: bool) -> None:
    """Bars from the default's speed up and down; of all work, if no phase is named."""
    arms = [arm for arm in report.arms if arm != DEFAULT]
    whole = report.whole
    for place, arm in enumerate(arms):
        found = report.ratio(arm, None if phase is None else report.of_phase(phase))
        if found is None:
            continue
        low, middle, high = found
        if phase is None:
            # The turns of presets do not fall on all segments alike.
            low, middle, high = (bound * whole[arm] / middle for bound in found)
        axis.bar(place, middle - 1, bottom=1, width=0.66, color=COLOURS[arm], zorder=2)
        axis.plot((place, place), (low, high), color=INK, linewidth=1.1, zorder=3)
        above = middle >= 1
        axis.annotate(
            show_ratio(middle)[:-1],
            (place, max(high, 1) if above else min(low, 1)),
            xytext=(0, 4 if above else -4),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
            fontsize=7.5,
            weight="bold" if arm == TUNED else "normal",
        )
    axis.axhline(1.0, color=COLOURS[DEFAULT], linewidth=1.2, zorder=1)
    axis.set_title("the whole timeline" if phase is None else phase, loc="left", fontsize=10, weight="bold")
    axis.set_xticks(range(len(arms)), arms, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    axis.margins(y=0.16)
    axis.tick_params(length=0, colors=FAINT, labelleft=labelled)
    axis.grid(axis="y", color=GRID, linewidth=0.6, zorder=0)
    if labelled:
        axis.set_ylabel("speed over the default's")
    for side in axis.spines.values():
        side.set_visible(False)
