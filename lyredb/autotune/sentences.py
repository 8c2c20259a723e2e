"""Settings and gains as people read them."""

from __future__ import annotations

from collections.abc import Mapping

from lyredb.autotune import blend
from lyredb.autotune.contest import Contest
from lyredb.autotune.journal import Value
from lyredb.autotune.pairs import Gain
from lyredb.presets import format_size


def changed(before: Mapping[str, Value], after: Mapping[str, Value]) -> dict[str, tuple[Value, Value]]:
    """What differs, as the value before and the one after; what is not there is the default."""
    usual = blend.usual("family") | blend.usual("database")
    pairs = {name: (before.get(name, usual[name]), after.get(name, usual[name])) for name in {**before, **after}}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def listed(before: Mapping[str, Value], after: Mapping[str, Value]) -> str:
    """What differs, in a line."""
    return ", ".join(
        f"{name} {_shown(name, old)} -> {_shown(name, new)}" for name, (old, new) in changed(before, after).items()
    )


def _shown(name: str, value: Value) -> str:
    return format_size(value) if isinstance(value, int) and name.endswith("_bytes") else str(value)


def compared(before: Mapping[str, Value], after: Mapping[str, Value], gain: Gain, of: str) -> str:
    """What some settings cost, as a part of what others do."""
    low, middle, high = gain.ratios()
    return f"{listed(before, after)} costs {1 / middle:.3f} ({1 / high:.3f} to {1 / low:.3f}) of {of}"


def outcome(gain: Gain, contest: Contest) -> dict[str, float]:
    """A gain and by how many pairs, for a decision."""
    low, middle, high = gain.ratios()
    return {"gain.low": low, "gain": middle, "gain.high": high, "pairs": len(contest.pairs)}
