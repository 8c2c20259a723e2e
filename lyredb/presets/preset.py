"""Reading preset files, and scaling what they say to a machine.

A preset is a TOML file beside this one: a `summary`, for `whom`, and `[settings.NAME]` for each tunable that differs
from the engine's default, with `why`, and either

    value = 16384                 a value; sizes may be text: "16 KiB"
    share_of_memory = 0.25        this part of the machine's memory
    per_core = "64 MiB"           this much for each core

of which the last two may be bounded by `at_least` and `at_most`.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, cast

from lyredb.db.errors import ConfigError
from lyredb.presets.machine import Machine, this_machine
from lyredb.presets.registry import Tunable, tunable, tunables
from lyredb.presets.sizes import parse_size

# In the order in which people meet them.
_NAMES = ("default", "oltp", "olap", "cache", "timeseries", "graph")

_RULES = ("value", "share_of_memory", "per_core")
_BOUNDS = ("at_least", "at_most")


@dataclass(frozen=True)
class Setting:
    """What a preset says about one tunable: a value, or a rule that makes one from the machine."""

    tunable: Tunable
    why: str
    value: int | str | None = None
    share_of_memory: float | None = None
    per_core: int | None = None
    at_least: int | None = None
    at_most: int | None = None

    def on(self, machine: Machine) -> int | str:
        """The value on a machine, within the setting's own bounds and the tunable's."""
        if self.value is not None:
            return self.value
        if self.share_of_memory is not None:
            # Whole MiB: nobody wants to read the rest.
            scaled = int(machine.memory_bytes * self.share_of_memory) >> 20 << 20
        else:
            scaled = machine.cores * (self.per_core or 0)
        low, high = self.tunable.bounds
        low = low if self.at_least is None else max(low, self.at_least)
        high = high if self.at_most is None else min(high, self.at_most)
        return min(max(scaled, low), high)


@dataclass(frozen=True)
class Preset:
    """A preset as its file has it."""

    name: str
    summary: str
    whom: str
    settings: Mapping[str, Setting]

    def on(self, machine: Machine) -> dict[str, int | str]:
        """Its settings on a machine."""
        return {name: setting.on(machine) for name, setting in self.settings.items()}


@dataclass(frozen=True)
class Difference:
    """A tunable that a preset sets otherwise than the default preset does."""

    tunable: Tunable
    default: int | str
    preset: int | str
    why: str


def names() -> list[str]:
    """The presets there are."""
    return list(_NAMES)


@cache
def load(name: str) -> Preset:
    """A preset, checked against the registry of tunables.

    Raises:
        ConfigError: There is none of that name; or its file asks for what the engine does not have.
        TypeError: It is not a name.
    """
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"a preset is given by its name, a str, not {type(name).__qualname__}")
    if name not in _NAMES:
        near = difflib.get_close_matches(name, _NAMES, n=1)
        raise ConfigError(
            f"there is no preset {name!r}",
            suggestion=f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_NAMES)}",
        )
    return parse(name, files("lyredb.presets").joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def resolve(name: str, *, memory_bytes: int | None = None, cores: int | None = None) -> dict[str, int | str]:
    """The settings of a preset as numbers.

    Args:
        name: One of `names()`.
        memory_bytes: Memory of the machine to scale to; this machine's by default.
        cores: Its cores.

    Raises:
        ConfigError: There is no such preset.
    """
    return load(name).on(_machine(memory_bytes, cores))


def difference(name: str, *, memory_bytes: int | None = None, cores: int | None = None) -> list[Difference]:
    """What is otherwise than in the preset "default", on a machine as for `resolve`.

    Raises:
        ConfigError: There is no such preset.
    """
    preset, machine = load(name), _machine(memory_bytes, cores)
    usual = {each.name: each.default for each in tunables()} | load("default").on(machine)
    chosen = preset.on(machine)
    return [
        Difference(setting.tunable, usual[key], chosen[key], setting.why)
        for key, setting in preset.settings.items()
        if chosen[key] != usual[key]
    ]


def parse(name: str, text: str) -> Preset:
    """A preset from the text of its file.

    Raises:
        ConfigError: The text is not TOML, or says something that the registry does not allow.
    """
    # Part of the standard library since Python 3.11; tomli is the same code for 3.10.
    try:
        toml: Any = importlib.import_module("tomllib")
    except ModuleNotFoundError:
        toml = importlib.import_module("tomli")
    try:
        document: dict[str, Any] = toml.loads(text)
    except ValueError as error:
        raise ConfigError(f"preset {name!r} is not TOML: {error}") from None
    _refuse_unknown(f"preset {name!r}", document, ("summary", "whom", "settings"))
    rows = cast("dict[str, dict[str, Any]]", document.get("settings", {}))
    settings = {key: _setting(f"preset {name!r}, {key}", tunable(key), row) for key, row in rows.items()}
    return Preset(name, document["summary"], document["whom"], MappingProxyType(settings))


def _setting(where: str, knob: Tunable, row: dict[str, Any]) -> Setting:
    _refuse_unknown(where, row, (*_RULES, *_BOUNDS, "why"))
    rules = [rule for rule in _RULES if rule in row]
    if len(rules) != 1:
        raise ConfigError(f"{where}: there must be one of {', '.join(_RULES)}, not {len(rules)}")
    if rules == ["value"] and any(bound in row for bound in _BOUNDS):
        raise ConfigError(f"{where}: a value needs no bounds")
    if not knob.tuner:
        raise ConfigError(f"{where}: no preset may set it, since it changes what a program can observe")
    if not isinstance(row.get("why"), str):
        raise ConfigError(f"{where}: say why")
    setting = Setting(
        knob,
        row["why"],
        value=_value(knob, row.get("value")),
        share_of_memory=row.get("share_of_memory"),
        per_core=_number(row.get("per_core")),
        at_least=_number(row.get("at_least")),
        at_most=_number(row.get("at_most")),
    )
    for stated in (setting.value, setting.at_least, setting.at_most):
        why_not = None if stated is None else knob.refusal(stated)
        if why_not is not None:
            raise ConfigError(f"{where}: {why_not}")
    return setting


def _refuse_unknown(where: str, row: Mapping[str, object], known: tuple[str, ...]) -> None:
    for key in row:
        if key not in known:
            raise ConfigError(f"{where}: unknown entry {key!r}", suggestion=f"there are {', '.join(known)}")


def _value(knob: Tunable, stated: int | str | None) -> int | str | None:
    return stated if knob.choices else _number(stated)


def _number(stated: int | str | None) -> int | None:
    return parse_size(stated) if isinstance(stated, str) else stated


def _machine(memory_bytes: int | None, cores: int | None) -> Machine:
    if memory_bytes is not None and cores is not None:
        return Machine(memory_bytes, cores)
    here = this_machine()
    return Machine(here.memory_bytes if memory_bytes is None else memory_bytes, here.cores if cores is None else cores)
