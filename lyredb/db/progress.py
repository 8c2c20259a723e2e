"""Progress of long calls: the caller's own function, or a bar in the terminal."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeAlias

from lyredb.db.errors import ConfigError

Report: TypeAlias = Callable[[int, int], object]
Progress: TypeAlias = "Report | bool | None"


@contextmanager
def reporting(progress: Progress, what: str) -> Generator[Report | None]:
    """The function that the engine calls with (done, total): None, `progress` itself, or for True a bar of rich's.

    Raises:
        ConfigError: progress=True, and rich is not installed.
        TypeError: `progress` is none of these.
    """
    if progress is None or progress is False:
        yield None
    elif progress is True:
        with _bar(what) as report:
            yield report
    elif callable(progress):
        yield progress
    else:
        raise TypeError(f"progress must be a callable, a bool or None, not {type(progress).__qualname__}")


@contextmanager
def _bar(what: str) -> Generator[Report]:
    try:
        module: Any = importlib.import_module("rich.progress")
    except ImportError:
        raise ConfigError("progress=True needs the package rich", suggestion="pip install rich") from None
    with module.Progress() as bar:
        task = bar.add_task(what, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield report
