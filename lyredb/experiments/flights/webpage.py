"""The report as one HTML page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from html import escape
from importlib.resources import files

from lyredb.autotune import FamilyStatus
from lyredb.experiments.flights import drawing
from lyredb.experiments.flights.course import NOTABLE
from lyredb.experiments.flights.follower import Decided, Seen
from lyredb.experiments.flights.measures import Interval
from lyredb.experiments.flights.phases import PHASES
from lyredb.experiments.flights.report import ADAPTED, Report, Row
from lyredb.experiments.flights.settings import show_preset, show_settings, show_value
from lyredb.experiments.flights.shown import show_machine, show_rate, show_ratio, show_seconds
from lyredb.experiments.flights.timeline import DEFAULT, TUNED

_TIMES = ("first", "second")


def render(report: Report) -> str:
    """The page."""
    template = files("lyredb.experiments.flights").joinpath("webpage.html").read_text(encoding="utf-8")
    parts = {
        "DATA": escape(report.data),
        "CHECKED": f"{report.checked:,}",
        "QUICK": '<p class="note">A quick run: short segments of small blocks, so the figures are rough.</p>'
        if report.quick
        else "",
        "TILES": "\n".join(_tiles(report)),
        "TIMELINE": drawing.timeline(report),
        "KEY": "".join(f'<li class="{arm}">{_arm(arm)}</li>' for arm in report.arms),
        "ROWS": "\n".join(_row(row) for row in report.rows),
        "WHOLE": "\n".join(_whole_rows(report)),
        "CARDS": "\n".join(_card(report, phase) for phase in report.phases),
        "DECISIONS": "\n".join(_decision(report, each) for each in report.decisions)
        or '<tr><td colspan="6">None.</td></tr>',
        "ADAPTED": f"{ADAPTED:.0%}",
        "COMMAND": escape(report.command),
        "STARTED": escape(report.started),
        "SECONDS": f"{report.seconds:.0f}",
        "MACHINE": escape(show_machine(report.machine)),
    }
    for name, text in parts.items():
        template = template.replace(f"<!--{name}-->", text)
    return template


def _arm(arm: str) -> str:
    return arm if arm in (TUNED, DEFAULT) else f"preset {arm}"


def _tiles(report: Report) -> list[str]:
    """The few figures that matter most."""
    whole, worst, best = report.whole, report.worst, report.best_of_each
    tiles: list[tuple[str, str]] = []
    if TUNED in whole and worst is not None:
        tiles.append((show_ratio(whole[TUNED]), "the default's speed over the whole timeline, tuned"))
        tiles.append((show_ratio(worst.ratio), "of the default in the worst five seconds"))
    presets = {arm: ratio for arm, ratio in whole.items() if arm not in (TUNED, DEFAULT)}
    if presets:
        arm = max(presets, key=lambda name: presets[name])
        tiles.append((show_ratio(presets[arm]), f"the best of the fixed presets over the whole, {arm}"))
    if best is not None:
        tiles.append((show_ratio(best), "by hand: the best preset of each phase, at no cost"))
    return [f"<div><b>{figure}</b><span>{escape(meaning)}</span></div>" for figure, meaning in tiles]


def _row(row: Row) -> str:
    segment = row.segment
    cells = [show_rate(row.default_rate), *[""] * 7]
    if row.tuned is not None and row.tuned_rate is not None and row.worst is not None:
        cells[1:4] = [show_rate(row.tuned_rate), _badge(row.tuned), show_ratio(row.worst.ratio)]
    if row.best is not None:
        cells[4:6] = [row.best.preset, show_ratio(row.best.ratio)]
        if row.tuned is not None:
            cells[6:8] = [show_ratio(row.tuned_over_best), show_seconds(row.adapt_seconds)]
    shown = "".join(f"<td>{cell}</td>" for cell in cells)
    title = f'<a href="#{segment.phase}">{escape(PHASES[segment.phase].title)}</a>'
    time = _TIMES[segment.lap]
    return f'<tr><th scope="row">{title}<small>{segment.phase}, {time} time</small></th>{shown}</tr>'


def _badge(ratio: Interval) -> str:
    kind = "faster" if ratio.low > 1 else "slower" if ratio.high < 1 else "same"
    title = f"95 % between {ratio.low:.3f} and {ratio.high:.3f}"
    return f'<span class="badge {kind}" title="{title}">{show_ratio(ratio.middle)}</span>'


def _whole_rows(report: Report) -> list[str]:
    ratios = sorted(report.whole.items(), key=lambda item: -item[1])
    rows = [(f'<span class="dot {arm}"></span>{_arm(arm)}', ratio, _changes(arm)) for arm, ratio in ratios]
    best = report.best_of_each
    if best is not None:
        rows.append(("<i>the best preset of each phase</i>", best, "set by hand at every shift, at no cost"))
    return [
        f'<tr><th scope="row">{name}</th><td><b>{show_ratio(ratio)}</b></td>'
        f'<td class="left">{escape(changes)}</td></tr>'
        for name, ratio, changes in rows
    ]


def _changes(arm: str) -> str:
    """What an arm's settings are."""
    if arm == TUNED:
        return "whatever its tuner chooses"
    return "" if arm == DEFAULT else show_preset(arm)


def _card(report: Report, name: str) -> str:
    phase, segments = PHASES[name], report.of_phase(name)
    found = {arm: report.ratio(arm, segments) for arm in report.arms if arm != DEFAULT}
    ratios = {arm: each for arm, each in found.items() if each is not None}
    last = {seen.segment: seen for seen in report.seen}
    ends = "".join(_end(last[segment.number], _TIMES[segment.lap]) for segment in segments if segment.number in last)
    return f"""<section class="card" id="{name}">
<header><h2>{escape(phase.title)}</h2><code>{name}</code></header>
<p>{escape(phase.story)}</p>
<h3>Speed over the default's <small>operations a second; one is {escape(phase.operation)}</small></h3>
{drawing.bars(ratios)}
{ends}
</section>"""


def _end(seen: Seen, time: str) -> str:
    """How a segment ended for the tuner."""
    families = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{family.kind} '
        f"<small>{_probability(family)}</small></td>"
        f"<td>{escape(show_settings(family.settings))} <small>{family.source}</small></td></tr>"
        for name, family in seen.families.items()
    )
    head = "<tr><th>family</th><th>taken for</th><th>settings in force</th></tr>"
    return f'<h3>At the end of the {time} time</h3><table class="small">{head}{families}</table>'


def _probability(family: FamilyStatus) -> str:
    found = family.probabilities.get(family.kind)
    return "" if found is None else f"{found:.0%}"


def _decision(report: Report, each: Decided) -> str:
    decision = each.decision
    changed = ", ".join(
        f"{name} {show_value(name, old)} to {show_value(name, new)}" for name, (old, new) in decision.changed.items()
    )
    cells = (
        f"{each.own_seconds:.1f} s",
        report.segments[each.segment].phase,
        decision.family or "",
        decision.kind,
        each.why,
        changed,
    )
    kind = ' class="notable"' if decision.kind in NOTABLE else ""
    return f"<tr{kind}>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>"
