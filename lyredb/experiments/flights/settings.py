"""Settings in words."""

from __future__ import annotations

from collections.abc import Mapping

from lyredb import presets
from lyredb.presets import page


def show_settings(settings: Mapping[str, int | str]) -> str:
    """Names and values with their units, of those that are not the default."""
    if not settings:
        return "the default"
    return ", ".join(f"{name} {show_value(name, value)}" for name, value in settings.items())


def show_value(name: str, value: int | str) -> str:
    """The value of a tunable, with its unit."""
    return page.show(presets.tunable(name), value)


def show_preset(name: str) -> str:
    """What a preset changes on this machine."""
    return ", ".join(f"{each.tunable.name} {page.show(each.tunable, each.preset)}" for each in presets.difference(name))
