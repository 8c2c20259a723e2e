"""Packages that only experiments need."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from lyredb.db.errors import ConfigError


def required(name: str) -> Any:
    """A package of the `demo` extra.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise _missing(name) from error


def required_folder(name: str) -> str:
    """The folder of an installed package, which is not imported.

    Raises:
        ConfigError: It is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(name)
    return spec.submodule_search_locations[0]


def _missing(name: str) -> ConfigError:
    return ConfigError(f"this needs the package {name}", suggestion="pip install 'lyredb[demo]'")
