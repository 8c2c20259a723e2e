"""Packages that only some parts of this one need."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from lyredb.db.errors import ConfigError


def required(name: str, *, extra: str) -> Any:
    """A package of an extra, or a module of one.

    Args:
        name: What is imported.
        extra: What is to be installed: `pip install 'lyredb[extra]'`.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise _missing(name, extra) from error


def required_folder(name: str, *, extra: str) -> str:
    """The folder of an installed package, which is not imported.

    Raises:
        ConfigError: It is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(name, extra)
    return spec.submodule_search_locations[0]


def _missing(name: str, extra: str) -> ConfigError:
    package = name.partition(".")[0]
    return ConfigError(f"this needs the package {package}", suggestion=f"pip install 'lyredb[{extra}]'")
