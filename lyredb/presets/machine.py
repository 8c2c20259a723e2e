"""What the machine has, as far as this process may use it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

# Where Linux keeps the memory limit of a container: control groups version 2, then 1.
_LIMIT_FILES = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True)
class Machine:
    """What presets scale to."""

    memory_bytes: int
    cores: int


def this_machine() -> Machine:
    """Memory and cores of this machine, or of the container this process runs in."""
    return Machine(memory_bytes=_memory_bytes(), cores=_cores())


def _memory_bytes() -> int:
    installed = psutil.virtual_memory().total
    limits = [limit for limit in map(_limit, _LIMIT_FILES) if limit is not None]
    return min(installed, *limits) if limits else installed


def _limit(file: Path) -> int | None:
    """The limit in a control group's file, or None where there is no file or no limit ("max")."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return psutil.cpu_count() or 1
