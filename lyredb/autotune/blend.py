"""Settings from the probabilities of kinds of work, by their presets."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping

from lyredb import presets
from lyredb.autotune.journal import Value
from lyredb.presets import Machine, Tunable

# Smaller numbers are rounded to whole ones, larger to powers of two.
_SMALL = 12
# A kind with less is noise of the recognition.
_LEAST_SHARE = 0.1


def usual(scope: str) -> dict[str, Value]:
    """The defaults of what may be tuned, of a scope: "family" or "database"."""
    return {each.name: each.default for each in presets.tunables() if each.scope == scope and each.tuner}


def blend(
    probabilities: Mapping[str, float], machine: Machine, *, scope: str = "family", without: Collection[str] = ()
) -> dict[str, Value]:
    """The settings for a mixture of kinds of work.

    Numbers are blended by their logarithms, and choices go to the greatest share. What is left to 1 counts as the
    default.

    Args:
        probabilities: Of kinds, each with a preset of its name.
        machine: What presets are scaled to.
        scope: "family" or "database".
        without: Names that are not to be set.

    Returns:
        What differs from the default.
    """
    shares = {kind: share for kind, share in probabilities.items() if share >= _LEAST_SHARE}
    whole = sum(shares.values())
    asked = {kind: presets.load(kind).on(machine) for kind in shares}
    found: dict[str, Value] = {}
    for name, default in usual(scope).items():
        if name in without or not any(name in settings for settings in asked.values()):
            continue
        parts = [(settings.get(name, default), shares[kind] / whole) for kind, settings in asked.items()]
        value = _one(presets.tunable(name), parts)
        if value != default:
            found[name] = value
    return found


def telling(settings: Mapping[str, Value]) -> dict[str, Value]:
    """The settings without those that windows cannot tell: pages on disk change only where leaves are cut anew."""
    cut = "leaf_bytes" in settings
    return {
        name: value
        for name, value in settings.items()
        if presets.tunable(name).change == "instant" or (cut and name != "codec_level")
    }


def _one(tunable: Tunable, parts: list[tuple[Value, float]]) -> Value:
    if tunable.choices:
        votes: defaultdict[Value, float] = defaultdict(float)
        for value, share in parts:
            votes[value] += share
        return max(votes, key=lambda value: votes[value])
    if len({value for value, _ in parts}) == 1:
        return parts[0][0]
    return fitting(tunable, sum(math.log2(max(int(value), 1)) * share for value, share in parts))


def fitting(tunable: Tunable, logarithm: float) -> int:
    """The number of a tunable's range that is nearest to a power of two: whole if small, or else a power of two."""
    number = 2.0**logarithm
    low, high = tunable.bounds
    return min(max(round(number) if number < _SMALL else 1 << round(logarithm), low), high)
