"""Better settings looked for with Optuna: it proposes, what is tried stays near to what is in force.

Ranges are fixed, as the sampler drops a setting whose range moves; proposals are cut to a trust region by us, and what
was really tried is what Optuna is told.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from lyredb import presets
from lyredb.autotune import blend
from lyredb.autotune.journal import Value
from lyredb.autotune.turns import quick_turns

BY_KIND: Mapping[str, tuple[str, ...]] = {
    "oltp": ("delta_records", "leaf_bytes"),
    "olap": ("leaf_bytes", "readahead_bytes"),
    "cache": ("delta_records", "leaf_bytes", "absent_filter"),
    "timeseries": ("leaf_bytes", "delta_records"),
    "graph": ("leaf_bytes", "delta_records"),
    "unknown": ("delta_records",),
}
"""What matters for a kind of work, most first."""

_STEPS = 1
"""How many doublings a proposal is at most away from what is in force."""
_MOST_TRIALS = 300
_FIRST_AT_RANDOM = 4
# The ranges that are searched, as powers of two, where the registry's are wider than sense.
_RANGES = {"leaf_bytes": (11, 18), "delta_records": (1, 8), "readahead_bytes": (14, 23)}


class Search:
    """One study: of one signature of work."""

    def __init__(self, kind: str, seed: int) -> None:
        """Begins a study; imports Optuna, which takes some tenths of a second the first time.

        Args:
            kind: Of work: one of `lyredb.autotune.KINDS`, or "unknown".
            seed: What is drawn at random is drawn from this.
        """
        with quick_turns():
            optuna: Any = importlib.import_module("optuna")
            self._trials: Any = importlib.import_module("optuna.trial")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._distributions = {name: _distribution(optuna.distributions, name) for name in BY_KIND[kind]}
        self._new: Any = lambda: optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=_FIRST_AT_RANDOM),
        )
        self._study: Any = self._new()
        self._tried: set[frozenset[tuple[str, Value]]] = set()

    def ask(self, settings: Mapping[str, Value], without: frozenset[str]) -> dict[str, Value] | None:
        """Settings worth a trial.

        Args:
            settings: Those in force which are not the default.
            without: Names that are to stay as they are.

        Returns:
            Those that differ from the default; None: all that is near was tried already.
        """
        if len(self._study.trials) >= _MOST_TRIALS:
            best = sorted(self._completed(), key=lambda trial: trial.value)[-_MOST_TRIALS // 10 :]
            self._study = self._new()
            self._study.add_trials(best)
        names = [name for name in self._distributions if name not in without]
        if not names:
            return None
        trial = self._study.ask({name: self._distributions[name] for name in names})
        usual = blend.usual("family")
        proposed = {name: _near(name, trial.params[name], settings.get(name, usual[name])) for name in names}
        # What was really tried is told instead, once it is known what came of it.
        self._study.tell(trial, state=self._trials.TrialState.FAIL)
        for changed in (proposed, *self._neighbours(names, settings)):
            found = {name: value for name, value in {**settings, **changed}.items() if value != usual[name]}
            if found != dict(settings) and frozenset(found.items()) not in self._tried:
                self._tried.add(frozenset(found.items()))
                return found
        return None

    def _neighbours(self, names: list[str], settings: Mapping[str, Value]) -> Iterator[Mapping[str, Value]]:
        """One step along each of the settings: what is tried where the proposal was tried before."""
        usual = blend.usual("family")
        for name in names:
            tunable, now = presets.tunable(name), settings.get(name, usual[name])
            if tunable.choices:
                yield from ({name: choice} for choice in tunable.choices)
                continue
            place = _to_study(name, now)
            low, high = _RANGES[name]
            yield from ({name: blend.fitting(tunable, step)} for step in (place + 1, place - 1) if low <= step <= high)

    def tell(self, settings: Mapping[str, Value], gain: float) -> None:
        """Tells what came of a trial: the logarithm of cost(default) / cost(settings)."""
        usual = blend.usual("family")
        params = {name: _to_study(name, settings.get(name, usual[name])) for name in self._distributions}
        distributions = {name: self._distributions[name] for name in params}
        self._study.add_trial(self._trials.create_trial(params=params, distributions=distributions, value=gain))

    def _completed(self) -> list[Any]:
        return [trial for trial in self._study.trials if trial.value is not None]


def _distribution(distributions: Any, name: str) -> Any:
    tunable = presets.tunable(name)
    if tunable.choices:
        return distributions.CategoricalDistribution(tunable.choices)
    return distributions.IntDistribution(*_RANGES[name])


def _to_study(name: str, value: Value) -> Any:
    if presets.tunable(name).choices:
        return value
    low, high = _RANGES[name]
    return min(max(round(math.log2(max(int(value), 1))), low), high)


def _near(name: str, proposed: Any, current: Value) -> Value:
    tunable = presets.tunable(name)
    if tunable.choices:
        return proposed
    now = math.log2(max(int(current), 1))
    return blend.fitting(tunable, min(max(float(proposed), now - _STEPS), now + _STEPS))
