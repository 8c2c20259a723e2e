"""What variants of all kinds have in common."""

from __future__ import annotations

from typing import Any

from lyredb import presets
from lyredb.autotune.kinds import KINDS
from lyredb.autotune.workloads.base import SPELLINGS
from lyredb.autotune.workloads.draws import Draws

_MACHINE = presets.Machine(memory_bytes=8 << 30, cores=4)


def common(draws: Draws, fewest: int, most: int, *, spellings: tuple[str, ...] = tuple(SPELLINGS)) -> dict[str, Any]:
    """The fields that every workload has, drawn."""
    return {
        "seed": draws.below(1 << 30),
        "records": draws.size(fewest, most),
        "threads": draws.one((1, 2, 4), (4, 2, 1)),
        "spelling": draws.one(spellings),
        "settings": _settings(draws),
    }


def _settings(draws: Draws) -> dict[str, int | str]:
    """The default, a preset's, or some of their own: the work is to be recognised under all of them."""
    how = draws.below(3)
    if how == 0:
        return {}
    if how == 1:
        chosen = presets.load(draws.one(KINDS)).on(_MACHINE)
        return {name: value for name, value in chosen.items() if presets.tunable(name).scope == "family"}
    return {"leaf_bytes": draws.one((2, 4, 16, 64, 128)) << 10, "delta_records": draws.one((4, 8, 32, 128))}
