"""Names of tunables, checked before anything is done with them."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from lyredb import _engine
from lyredb.db.errors import ConfigError

Value: TypeAlias = "int | str"

_SCOPES = {row["name"]: row["scope"] for row in _engine.tunables()}


def check_names(names: Iterable[str], *, scope: str | None = None, arguments: Iterable[str] = ()) -> None:
    """Refuses a name that the registry does not have, or, if `scope` is given, has elsewhere.

    Args:
        names: What to look up.
        scope: "database" or "family".
        arguments: What else the caller takes by name, and might have been meant.

    Raises:
        ConfigError: With the nearest name as its suggestion.
    """
    for name in names:
        known = _SCOPES.get(name)
        if known is None:
            near = difflib.get_close_matches(name, [*_SCOPES, *arguments], n=1)
            raise ConfigError(
                f"there is no tunable {name!r}",
                suggestion=f"did you mean {near[0]!r}?" if near else f"the names are {', '.join(sorted(_SCOPES))}",
            )
        if scope is not None and known != scope:
            raise ConfigError(
                f"{name!r} is a setting of the {known}, not of a {scope}",
                suggestion="set it with lyredb.open() or db.configure() without a family",
            )


def of_preset(name: str, *, family_only: bool = False) -> dict[str, Value]:
    """The settings of a preset for this machine.

    Raises:
        ConfigError: There is no such preset.
    """
    presets: Any = importlib.import_module("lyredb.presets")
    settings: Mapping[str, Value] = presets.resolve(name)
    return {name: value for name, value in settings.items() if not family_only or _SCOPES.get(name) == "family"}
