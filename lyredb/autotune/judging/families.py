"""Whether each family of one database gets what suits it, while all are used at once."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from dataclasses import asdict
from typing import Any

import lyredb
from lyredb.autotune import FamilyStatus
from lyredb.autotune.evaluation_text import Grid
from lyredb.autotune.judging.circumstances import Circumstances
from lyredb.autotune.judging.figures import Figure, Part, median, share, shown
from lyredb.autotune.judging.turns import Program
from lyredb.autotune.workloads import Olap, Oltp, TimeSeries, Workload

_TURN_SECONDS = 1.5


def workloads(seed: int, records: int = 200_000) -> dict[str, Workload]:
    """A family of orders, one of metrics and one that is reported about."""
    return {
        "orders": Oltp(seed=seed, records=records // 4, mix="orders"),
        "metrics": TimeSeries(seed=seed + 1, records=records // 4, series=50, asked=0.1, shortest=20, longest=200),
        "reports": Olap(seed=seed + 2, records=records, reader="numpy", shortest=0.1, longest=0.5),
    }


def judge(circumstances: Circumstances) -> Part:
    """Runs the same program on two databases in turns, of which one is tuned."""
    work = workloads(circumstances.seed, circumstances.amount(200_000, 200_000, 20_000))
    rounds = circumstances.amount(60, 16, 2)
    order = random.Random(circumstances.seed)
    rates: dict[str, list[dict[str, float]]] = {"tuned": [], "default": []}
    looks: list[dict[str, FamilyStatus]] = []
    with (
        lyredb.open(circumstances.folder / "tuned", durability="async", autotune=True) as tuned,
        lyredb.open(circumstances.folder / "default", durability="async") as default,
        Program(work, tuned) as on_tuned,
        Program(work, default) as on_default,
    ):
        programs = {"tuned": on_tuned, "default": on_default}
        for done in range(1, rounds + 1):
            for side in order.sample(sorted(programs), 2):
                rates[side].append(programs[side].turn(_TURN_SECONDS if not circumstances.tiny else 0.6))
            looks.append(_look(tuned))
            circumstances.progress(done, rounds)
        decisions = [each.as_dict() for each in tuned.autotune.history()]
    # In the first half it finds out.
    half = rounds // 2
    return _part(work, {side: each[half:] for side, each in rates.items()}, looks, half, decisions)


def _look(tuned: Any) -> dict[str, FamilyStatus]:
    status = tuned.autotune.status()
    if status.error is not None:
        raise lyredb.Error(f"the tuner has failed: {status.error}")
    return dict(status.families)


def _part(
    work: dict[str, Workload],
    rates: dict[str, list[dict[str, float]]],
    looks: list[dict[str, FamilyStatus]],
    half: int,
    decisions: list[dict[str, Any]],
) -> Part:
    ratios: dict[str, list[float]] = defaultdict(list)
    for tuned, default in zip(rates["tuned"], rates["default"], strict=True):
        for name in work:
            ratios[name].append(tuned[name] / default[name])
        ratios["all"].append(math.prod(tuned[name] / default[name] for name in work) ** (1 / len(work)))
    right = [name in look and look[name].kind == each.kind for look in looks[half:] for name, each in work.items()]
    figures = [
        Figure("families taken for what they are, of all looks", share(sum(right), len(right)), 0.95, form=".0%")
    ]
    figures += [
        Figure(f"{name}, tuned / default, all at once", median(ratios[name]), 0.90, form=".2f") for name in work
    ]
    figures.append(Figure("the three, tuned / default, geometric mean", median(ratios["all"]), 0.97, form=".2f"))
    rows = [_row(name, each, rates, looks[-1].get(name), ratios[name]) for name, each in work.items()]
    columns = (
        "family",
        "its work",
        "is taken for",
        "settings in force",
        "from",
        "default/s",
        "tuned/s",
        "tuned / default",
    )
    told = {
        "ratios": dict(ratios),
        "families": {name: asdict(status) for name, status in looks[-1].items()},
        "decisions": decisions,
    }
    return Part(figures, [Grid("Three families of one database at once", columns, rows)], told)


def _row(
    name: str,
    work: Workload,
    rates: dict[str, list[dict[str, float]]],
    status: FamilyStatus | None,
    ratios: list[float],
) -> tuple[str, ...]:
    default, tuned = (median([each[name] for each in rates[side]]).middle for side in ("default", "tuned"))
    taken, settings, source = "nothing yet", "the default", ""
    if status is not None:
        taken, source = status.kind, status.source
        settings = ", ".join(f"{each} {value}" for each, value in status.settings.items()) or settings
    return name, work.kind, taken, settings, source, f"{default:,.0f}", f"{tuned:,.0f}", shown(median(ratios))
