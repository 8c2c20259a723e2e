"""The engine's registry of tunables, typed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from lyredb import _engine
from lyredb.db.errors import ConfigError


@dataclass(frozen=True)
class Tunable:
    """One knob of the engine.

    Attributes:
        scope: Whether it is set for the whole database or for each family.
        low, high: The range, both ends allowed; None for a choice.
        choices: What there is to choose from; empty for a number.
        change: When a change takes hold: at once, or as pages are next rewritten.
        tuner: Whether presets and self-tuning may set it; the others change what a program can observe.
    """

    name: str
    scope: Literal["database", "family"]
    low: int | None
    high: int | None
    choices: tuple[str, ...]
    default: int | str
    unit: str
    description: str
    change: Literal["instant", "rewrite"]
    tuner: bool

    def refusal(self, value: object) -> str | None:
        """Why `value` cannot be set, or None when it can."""
        if self.choices:
            return None if value in self.choices else f"{value!r} is not one of {', '.join(self.choices)}"
        if not isinstance(value, int) or isinstance(value, bool):
            return f"{value!r} is not a whole number"
        low, high = self.bounds
        return None if low <= value <= high else f"{value} is not between {low} and {high}"

    @property
    def bounds(self) -> tuple[int, int]:
        """The range of a number; both ends are allowed."""
        if self.low is None or self.high is None:
            raise TypeError(f"{self.name} is a choice and has no range")
        return self.low, self.high


@cache
def _registry() -> dict[str, Tunable]:
    return {row["name"]: _typed(row) for row in _engine.tunables()}


def _typed(row: Mapping[str, Any]) -> Tunable:
    return Tunable(
        name=row["name"],
        scope=row["scope"],
        low=row["low"],
        high=row["high"],
        choices=tuple(row["choices"] or ()),
        default=row["default"],
        unit=row["unit"],
        description=row["description"],
        change=row["change"],
        tuner=row["tuner"],
    )


def tunables() -> list[Tunable]:
    """Every tunable, in the order of the registry."""
    return list(_registry().values())


def tunable(name: str) -> Tunable:
    """One tunable.

    Raises:
        ConfigError: There is none of that name; the suggestion names the nearest.
    """
    found = _registry().get(name)
    if found is not None:
        return found
    near = difflib.get_close_matches(name, _registry(), n=1)
    raise ConfigError(
        f"there is no tunable {name!r}",
        suggestion=f"did you mean {near[0]!r}?" if near else "`lyredb tunables` lists them",
    )
