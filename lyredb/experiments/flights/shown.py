"""Figures as people read them, and the machine they are of."""

from __future__ import annotations

import platform

import lyredb
from lyredb.presets import format_size, this_machine


def show_rate(rate: float) -> str:
    """Operations a second, to three figures."""
    if rate >= 1e6:
        return f"{rate / 1e6:.2f} M"
    if rate >= 1e3:
        return f"{rate / 1e3:,.3g} k" if rate < 1e5 else f"{rate / 1e3:,.0f} k"
    return f"{rate:.3g}"


def show_ratio(ratio: float | None) -> str:
    """How many times as fast."""
    return "" if ratio is None else f"{ratio:.2f}x"


def show_seconds(seconds: float | None) -> str:
    """A time to adapt; None stands for never."""
    return "never" if seconds is None else f"{seconds:.1f} s" if seconds else "at once"


def show_clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def describe_machine() -> dict[str, str | int]:
    """What a reader must know of the machine to judge the figures."""
    here = this_machine()
    return {
        "processor": _processor(),
        "cores": here.cores,
        "memory_bytes": here.memory_bytes,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "lyredb": lyredb.__version__,
    }


def show_machine(machine: dict[str, str | int]) -> str:
    """The machine in a line."""
    return (
        f"{machine['processor']}, {machine['cores']} cores, {format_size(int(machine['memory_bytes']))} of memory, "
        f"{machine['system']}, Python {machine['python']}, LyreDB {machine['lyredb']}"
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
