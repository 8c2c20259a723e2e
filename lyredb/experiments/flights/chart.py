"""The report's plot, as a PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lyredb.experiments.extras import required
from lyredb.experiments.flights.report import PhaseReport, Report, show_latency, show_rate

_DEFAULT_COLOUR, _PRESET_COLOUR = "#9aa5b1", "#2f6fdb"
_INK, _FAINT = "#1f2933", "#7b8794"
_VERDICT_COLOURS = {"faster": "#1a7f4b", "slower": "#b42318", "no clear difference": _FAINT}


def draw(report: Report, file: Path) -> None:
    """Writes the plot: above, operations a second; below, latencies; a column for each phase."""
    matplotlib = required("matplotlib")
    figures_module = required("matplotlib.figure")
    with matplotlib.rc_context(
        {"font.family": "DejaVu Sans", "font.size": 9, "text.color": _INK, "axes.labelcolor": _INK}
    ):
        columns = len(report.phases)
        figure = figures_module.Figure(figsize=(2.6 * columns + 0.8, 5.6), dpi=150, facecolor="white")
        axes = figure.subplots(2, columns, squeeze=False, gridspec_kw={"height_ratios": (1.35, 1)})
        for column, phase in enumerate(report.phases):
            _draw_rates(axes[0][column], phase)
            _draw_latencies(axes[1][column], phase)
        axes[0][0].set_ylabel("operations a second", color=_FAINT)
        axes[1][0].set_ylabel("latency, p50 to p99", color=_FAINT)
        figure.suptitle(
            "LyreDB on New York's flights of 2013: default settings and presets",
            x=0.02,
            y=0.985,
            ha="left",
            fontsize=13,
            weight="bold",
        )
        machine = report.machine
        figure.text(
            0.02,
            0.015,
            f"Medians of interleaved blocks (dots); all {report.checked:,} answers agree with pandas. "
            f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, "
            f"LyreDB {machine['lyredb']}.",
            color=_FAINT,
            fontsize=8,
        )
        figure.tight_layout(rect=(0.005, 0.035, 0.995, 0.955), w_pad=1.6, h_pad=1.8)
        figure.savefig(file)


def _draw_rates(axis: Any, phase: PhaseReport) -> None:
    for place, (figures, colour) in enumerate(zip(phase.both, (_DEFAULT_COLOUR, _PRESET_COLOUR), strict=True)):
        axis.bar(place, figures.rate, width=0.62, color=colour, zorder=2)
        spread = [place + 0.22 * ((index % 5) / 2 - 1) for index in range(len(figures.rates))]
        axis.scatter(spread, figures.rates, s=7, color=_INK, alpha=0.45, linewidths=0, zorder=3)
        top = max(figures.rates)
        axis.annotate(
            show_rate(figures.rate), (place, top), xytext=(0, 5), textcoords="offset points", ha="center", weight="bold"
        )
    axis.set_title(phase.title, loc="left", fontsize=10.5, weight="bold", pad=20)
    axis.text(
        0,
        1.035,
        f"{phase.ratio:.2f}x" if phase.verdict != "no clear difference" else f"{phase.ratio:.2f}x, within noise",
        transform=axis.transAxes,
        color=_VERDICT_COLOURS[phase.verdict],
        weight="bold",
    )
    axis.set_ylim(0, max(max(figures.rates) for figures in phase.both) * 1.14)
    axis.set_yticks([])
    _plain(axis, phase)


def _draw_latencies(axis: Any, phase: PhaseReport) -> None:
    for place, (figures, colour) in enumerate(zip(phase.both, (_DEFAULT_COLOUR, _PRESET_COLOUR), strict=True)):
        low, high = (figures.percentile_microseconds(percent) for percent in (50, 99))
        axis.plot((place, place), (low, high), color=colour, linewidth=5, solid_capstyle="round", zorder=2)
        axis.annotate(show_latency(high), (place, high), xytext=(0, 7), textcoords="offset points", ha="center")
        axis.annotate(
            show_latency(low), (place, low), xytext=(0, -7), textcoords="offset points", ha="center", va="top"
        )
    axis.set_yscale("log")
    values = [figures.percentile_microseconds(percent) for figures in phase.both for percent in (50, 99)]
    axis.set_ylim(min(values) / 2.2, max(values) * 2.2)
    axis.set_yticks([])
    axis.minorticks_off()
    _plain(axis, phase)


def _plain(axis: Any, phase: PhaseReport) -> None:
    axis.set_xticks((0, 1), ("default", phase.preset.settings))
    axis.set_xlim(-0.6, 1.6)
    axis.tick_params(axis="x", length=0, colors=_INK)
    for side in ("left", "right", "top"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color("#cbd2d9")
