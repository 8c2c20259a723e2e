"""Each preset on its own workload against the default; where it wins nothing, the one setting that would."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import lyredb
from lyredb import extras
from lyredb.autotune.evaluation import Estimate
from lyredb.autotune.evaluation_text import Grid
from lyredb.autotune.judging.circumstances import Circumstances
from lyredb.autotune.judging.figures import Figure, Part, shown
from lyredb.presets import format_size

Settings = Mapping[str, int | str]

# Values of one setting each.
_SWEPT: Mapping[str, tuple[int, ...]] = {
    "leaf_bytes": (2 << 10, 4 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10),
    "delta_records": (4, 8, 32, 64, 128),
}
_SWEPT_QUICKLY: Mapping[str, tuple[int, ...]] = {"leaf_bytes": (4 << 10, 32 << 10, 128 << 10), "delta_records": (4, 64)}
# The first block of each warms it up.
_WARMING = 1


@dataclass(frozen=True)
class _Won:
    """What a preset is worth on its own workload, and, if that is nothing, a single setting."""

    phase: str
    preset: Estimate
    swept: str | None
    single: Estimate | None
    tried: Mapping[str, float]

    @property
    def wins(self) -> bool:
        """Whether the preset is certainly faster than the default."""
        return self.preset.low > 1.0


def judge(circumstances: Circumstances) -> Part:
    """Measures each phase of the demo on the default and the preset of its name, in turns of one block."""
    flights: Any = extras.required("lyredb.experiments.flights", extra="demo")
    data: Any = extras.required("lyredb.experiments.flights.data", extra="demo").Data()
    kinds = list(flights.PHASES.values())[: circumstances.amount(5, 5, 1)]
    found: list[_Won] = []
    for kind in kinds:
        phase = kind(data, 0.02 if circumstances.tiny else 1.0)
        phase.prepare()
        found.append(_phase(circumstances, phase))
        circumstances.progress(len(found), len(kinds))
    rows = [_row(each) for each in found]
    columns = ("preset", "on its own workload / default", "wins", "else a single setting", "it / default")
    details = {
        each.phase: {"preset": vars(each.preset), "setting": each.swept, "tried": dict(each.tried)} for each in found
    }
    figures = [Figure(f"preset {each.phase} on its own workload / default", each.preset, 1.0) for each in found]
    return Part(figures, [Grid("Each preset on its own workload", columns, rows)], details)


def _row(won: _Won) -> tuple[str, ...]:
    if won.wins:
        return won.phase, shown(won.preset), "yes", "", ""
    if won.single is None:
        best = max(won.tried, key=lambda each: won.tried[each])
        return won.phase, shown(won.preset), "nothing", f"none (best: {best})", f"{won.tried[best]:.2f}"
    return won.phase, shown(won.preset), "nothing", won.swept or "", shown(won.single)


def _phase(circumstances: Circumstances, phase: Any) -> _Won:
    rounds = circumstances.amount(24, 8, 2)
    name = phase.name
    preset = _measured(circumstances, phase, {name: {"preset": name}}, rounds)[name]
    if preset.low > 1.0:
        return _Won(name, preset, None, None, {})
    swept = _SWEPT_QUICKLY if circumstances.quick or circumstances.tiny else _SWEPT
    candidates: dict[str, Settings] = {
        f"{setting} {format_size(value) if setting == 'leaf_bytes' else value}": {setting: value}
        for setting, values in swept.items()
        for value in values[: 1 if circumstances.tiny else None]
    }
    tried = {
        label: each.middle
        for label, each in _measured(circumstances, phase, candidates, circumstances.amount(10, 4, 1)).items()
    }
    best = max(tried, key=lambda label: tried[label])
    # The best of many is so by luck, too: it is measured again.
    again = _measured(circumstances, phase, {best: candidates[best]}, rounds)[best]
    return _Won(name, preset, best, again if again.low > 1.0 else None, {**tried, best: again.middle})


def _measured(
    circumstances: Circumstances, phase: Any, arms: Mapping[str, Settings], rounds: int
) -> dict[str, Estimate]:
    """The speed of arms over the default's, on the same blocks, which all do one after the other in random order."""
    flights: Any = extras.required("lyredb.experiments.flights.phases", extra="demo")
    stopwatch: Any = extras.required("lyredb.experiments.flights.stopwatch", extra="demo")
    arms_of_demo: Any = extras.required("lyredb.experiments.flights.arms", extra="demo")
    order = random.Random(circumstances.seed)
    seconds: dict[str, list[float]] = {name: [] for name in ("default", *arms)}
    with arms_of_demo.scratch(circumstances.folder / "arms") as folder, ExitStack() as opened:
        settings: dict[str, Settings] = {"default": {}, **arms}
        databases = {
            name: opened.enter_context(_loaded(folder / str(place), each, phase))
            for place, (name, each) in enumerate(settings.items())
        }
        mirrors = {name: flights.Mirror.of(phase.data) for name in databases}
        for number in range(_WARMING + rounds):
            work = phase.draw(np.random.default_rng((circumstances.seed, number)))
            for name in order.sample(sorted(databases), len(databases)):
                timing = stopwatch.timed(phase.steps(databases[name], mirrors[name], work))
                phase.check(mirrors[name], work, timing.answers)
                if number >= _WARMING:
                    seconds[name].append(timing.seconds)
        for name, database in databases.items():
            phase.finish(database, mirrors[name])
    return {name: _ratio(seconds["default"], seconds[name]) for name in arms}


def _loaded(path: Path, settings: Settings, phase: Any) -> Any:
    known: dict[str, Any] = dict(settings)
    database = lyredb.open(path, **known)
    try:
        phase.load(database)
        database.checkpoint()
    except BaseException:
        database.close()
        raise
    return database


def _ratio(default: list[float], own: list[float]) -> Estimate:
    """The geometric mean of the blocks' ratios, with its interval by drawing blocks again."""
    logs = np.log(np.array(default) / np.array(own))
    drawn = np.random.default_rng(0).integers(0, len(logs), (2_000, len(logs)))
    low, high = np.quantile(logs[drawn].mean(axis=1), (0.025, 0.975))
    middle = math.exp(float(logs.mean()))
    return Estimate(middle, min(math.exp(float(low)), middle), max(math.exp(float(high)), middle))
