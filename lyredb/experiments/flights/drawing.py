"""The web page's drawings, as SVG that takes its colours from the page's style."""

from __future__ import annotations

from html import escape
from math import log

from lyredb.experiments.flights.course import LEAST, bounds, course, notable, ticks
from lyredb.experiments.flights.measures import Interval
from lyredb.experiments.flights.report import Report
from lyredb.experiments.flights.shown import show_ratio

# The drawings' own units; the page scales them.
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 1080, 330, 52, 30, 40
_BAR_WIDTH, _BAR_ROW, _BAR_LABEL, _BAR_FIGURE = 470, 26, 92, 132


def timeline(report: Report) -> str:
    """The tuned database's speed over the default's, and the presets', with the decisions below."""
    stretches = course(report)
    low, high = bounds(stretches)
    room, height = _WIDTH - _LEFT, _HEIGHT - _TOP - _BOTTOM
    end = stretches[-1].end

    def across(moment: float) -> float:
        return _LEFT + room * moment / end

    def down(ratio: float) -> float:
        return _TOP + height * (log(high) - log(ratio)) / (log(high) - log(low))

    pieces: list[str] = []
    for place, stretch in enumerate(stretches):
        left, right = across(stretch.begin), across(stretch.end)
        if place % 2 == 0:
            pieces.append(
                f'<rect class="shade" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{height}"/>'
            )
        pieces.append(f'<text class="name" x="{(left + right) / 2:.1f}" y="{_TOP - 10}">{stretch.segment.phase}</text>')
    for mark in ticks(low, high):
        pieces.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{down(mark):.1f}" y2="{down(mark):.1f}"/>')
        pieces.append(f'<text class="tick" x="{_LEFT - 8}" y="{down(mark) + 4:.1f}">{mark:g}x</text>')
    for kind, ratio in (("one", 1.0), ("bound", LEAST)):
        pieces.append(
            f'<line class="{kind}" x1="{_LEFT}" x2="{_WIDTH}" y1="{down(ratio):.1f}" y2="{down(ratio):.1f}"/>'
        )
    for stretch in stretches:
        for preset, ratio in stretch.presets.items():
            pieces.append(
                f'<line class="{preset}" x1="{across(stretch.begin):.1f}" x2="{across(stretch.end):.1f}" '
                f'y1="{down(ratio):.1f}" y2="{down(ratio):.1f}">'
                f"<title>preset {preset} in {stretch.segment.phase}: {show_ratio(ratio)}</title></line>"
            )
    for stretch in stretches:
        points = " ".join(f"{across(moment):.1f},{down(ratio):.1f}" for moment, ratio in stretch.line)
        pieces.append(f'<polyline class="tuned" points="{points}"/>')
    for each in notable(report):
        kind, x, y = each.decision.kind, across(each.own_seconds), _HEIGHT - _BOTTOM + 12
        text = escape(f"{each.own_seconds:.1f} s, {each.decision.text}")
        pieces.append(f'<circle class="mark {kind}" cx="{x:.1f}" cy="{y}" r="4"><title>{text}</title></circle>')
    pieces.append(
        f'<text class="axis" x="{_WIDTH}" y="{_HEIGHT - 6}">{end:.0f} s of own work; dots are decisions</text>'
    )
    return _svg(_WIDTH, _HEIGHT, pieces, "Speed over the default's along the timeline")


def bars(ratios: dict[str, Interval]) -> str:
    """A bar for each arm, from the default's speed to the arm's, with its interval."""
    low = min([0.9, *(each.low for each in ratios.values())])
    high = max([1.1, *(each.high for each in ratios.values())])
    room = _BAR_WIDTH - _BAR_LABEL - _BAR_FIGURE

    def across(ratio: float) -> float:
        return _BAR_LABEL + room * (ratio - low) / (high - low)

    pieces: list[str] = []
    for place, (arm, ratio) in enumerate(ratios.items()):
        top = place * _BAR_ROW
        left, right = sorted((across(1.0), across(ratio.middle)))
        pieces.append(
            f'<text class="{"strong" if arm == "tuned" else ""}" x="0" y="{top + 17}">{arm}</text>'
            f'<rect class="{arm}" x="{left:.1f}" y="{top + 5}" width="{right - left:.1f}" height="16"/>'
            f'<line class="whisker" x1="{across(ratio.low):.1f}" x2="{across(ratio.high):.1f}" '
            f'y1="{top + 13}" y2="{top + 13}"/>'
            f'<text class="figure" x="{_BAR_WIDTH}" y="{top + 17}">{show_ratio(ratio.middle)}'
            f'<tspan class="range"> {ratio.low:.2f}&ndash;{ratio.high:.2f}</tspan></text>'
        )
    bottom = len(ratios) * _BAR_ROW
    pieces.append(f'<line class="one" x1="{across(1.0):.1f}" x2="{across(1.0):.1f}" y1="0" y2="{bottom}"/>')
    return _svg(_BAR_WIDTH, bottom, pieces, "Speed over the default's by arm")


def _svg(width: int, height: int, pieces: list[str], label: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">{"".join(pieces)}</svg>'
