"""The report as one HTML page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from math import log10

from lyredb.experiments.flights.report import Figures, PhaseReport, Report, show_latency, show_rate, show_size
from lyredb.presets import format_size

_VERDICTS = {"faster": "faster", "slower": "slower", "no clear difference": "same"}

# The drawing's own units; the page scales it.
_WIDTH, _ROW, _LABEL = 470, 28, 86
_RATE, _LATENCY = 84, 146


def render(report: Report) -> str:
    """The page."""
    template = files("lyredb.experiments.flights").joinpath("webpage.html").read_text(encoding="utf-8")
    machine = report.machine
    parts = {
        "ROWS": "\n".join(_row(phase) for phase in report.phases),
        "CARDS": "\n".join(_card(phase) for phase in report.phases),
        "CHECKED": f"{report.checked:,}",
        "DATA": escape(report.data),
        "SECONDS": f"{report.seconds:.0f}",
        "STARTED": escape(report.started),
        "COMMAND": escape(report.command),
        "MACHINE": escape(
            f"{machine['processor']}, {machine['cores']} cores, {format_size(int(machine['memory_bytes']))} of memory, "
            f"{machine['system']}, Python {machine['python']}, LyreDB {machine['lyredb']}"
        ),
        "QUICK": '<p class="note">A quick run: a tenth of the work, so the figures are rough.</p>'
        if report.quick
        else "",
    }
    for name, text in parts.items():
        template = template.replace(f"<!--{name}-->", text)
    return template


def _row(phase: PhaseReport) -> str:
    cells = "".join(
        f"<td>{show_rate(figures.rate)}</td><td>{_latency(figures, 50)}</td><td>{_latency(figures, 99)}</td>"
        f"<td>{show_size(figures.folder_bytes)}</td>"
        for figures in phase.both
    )
    return (
        f'<tr><th scope="row"><a href="#{phase.name}">{escape(phase.title)}</a><small>{phase.name}</small></th>{cells}'
        f"<td>{_badge(phase)}</td></tr>"
    )


def _card(phase: PhaseReport) -> str:
    facts = "".join(f"<li><b>{escape(value)}</b> {escape(name)}</li>" for name, value in phase.facts.items())
    changes = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(usual)}</td><td>{escape(value)}</td></tr>"
        for name, usual, value in phase.changes
    )
    return f"""<section class="card" id="{phase.name}">
<header><h2>{escape(phase.title)}</h2>{_badge(phase)}</header>
<p>{escape(phase.story)}</p>
<h3>Operations a second <small>one is {escape(phase.operation)}</small></h3>
{_rates(phase)}
<h3>Latency <small>from the median to the slowest of a hundred; logarithmic</small></h3>
{_latencies(phase)}
<ul class="facts"><li><b>{phase.checked:,}</b> answers checked</li>{facts}</ul>
<details><summary>What the preset <code>{phase.preset.settings}</code> changes</summary>
<table class="changes"><tr><th>setting</th><th>default</th><th>preset</th></tr>{changes}</table></details>
</section>"""


def _badge(phase: PhaseReport) -> str:
    low, high = phase.pair_ratios[0], phase.pair_ratios[-1]
    return (
        f'<span class="badge {_VERDICTS[phase.verdict]}" '
        f'title="{phase.verdict}; pairs of blocks from {low:.2f}x to {high:.2f}x">'
        f"{phase.ratio:.2f}x</span>"
    )


def _rates(phase: PhaseReport) -> str:
    most = max(max(figures.rates) for figures in phase.both)
    room = _WIDTH - _LABEL - _RATE
    pieces: list[str] = []
    for place, figures in enumerate(phase.both):
        top = place * _ROW
        width = room * figures.rate / most
        kind = "preset" if place else "default"
        dots = "".join(
            f'<circle cx="{_LABEL + room * rate / most:.1f}" cy="{top + 14}" r="2.2"/>' for rate in figures.rates
        )
        pieces.append(
            f'<text x="0" y="{top + 18}">{figures.settings}</text>'
            f'<rect class="{kind}" x="{_LABEL}" y="{top + 5}" width="{width:.1f}" height="18" rx="3">'
            f"<title>{figures.rate:,.0f} operations a second, the median of {len(figures.rates)} blocks</title></rect>"
            f'<g class="dots">{dots}</g>'
            f'<text class="figure" x="{_WIDTH}" y="{top + 18}">{show_rate(figures.rate)}/s</text>'
        )
    return _drawing(pieces, f"Operations a second of {phase.title}")


def _latencies(phase: PhaseReport) -> str:
    ends = [(figures.percentile_microseconds(50), figures.percentile_microseconds(99)) for figures in phase.both]
    low = log10(min(each[0] for each in ends)) - 0.15
    high = log10(max(each[1] for each in ends)) + 0.15
    room = _WIDTH - _LABEL - _LATENCY

    def across(microseconds: float) -> float:
        return _LABEL + room * (log10(microseconds) - low) / (high - low)

    pieces: list[str] = []
    for place, (figures, (median, slow)) in enumerate(zip(phase.both, ends, strict=True)):
        top = place * _ROW + 14
        kind = "preset" if place else "default"
        pieces.append(
            f'<text x="0" y="{top + 4}">{figures.settings}</text>'
            f'<line class="{kind}" x1="{across(median):.1f}" y1="{top}" x2="{across(slow):.1f}" y2="{top}">'
            f"<title>median {show_latency(median)}, 99 of 100 within {show_latency(slow)}</title></line>"
            f'<text class="figure" x="{_WIDTH}" y="{top + 4}">'
            f"{show_latency(median)} &ndash; {show_latency(slow)}</text>"
        )
    return _drawing(pieces, f"Latencies of {phase.title}")


def _drawing(pieces: list[str], label: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {2 * _ROW}" role="img" aria-label="{escape(label)}">{"".join(pieces)}</svg>'


def _latency(figures: Figures, percent: int) -> str:
    return show_latency(figures.percentile_microseconds(percent))
