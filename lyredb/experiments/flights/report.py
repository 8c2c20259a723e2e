"""What a run found."""

from __future__ import annotations

import platform
import statistics
from dataclasses import asdict, dataclass, field
from typing import Any

import lyredb
from lyredb.presets import this_machine

DEFAULT = "default"


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


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


@dataclass
class Figures:
    """The figures of a phase under one choice of settings."""

    settings: str
    rates: list[float] = field(default_factory=list[float])
    sampled_ns: list[int] = field(default_factory=list[int])
    operations: int = 0
    load_seconds: float = 0.0
    # What the database takes on the disk in the end.
    folder_bytes: int = 0

    @property
    def rate(self) -> float:
        """Operations a second: the median of the blocks."""
        return statistics.median(self.rates)

    def percentile_microseconds(self, percent: int) -> float:
        """The latency that `percent` of the sampled operations stay within."""
        ordered = sorted(self.sampled_ns)
        return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] / 1e3


@dataclass
class PhaseReport:
    """A phase under the default and under its preset."""

    name: str
    title: str
    story: str
    operation: str
    # What the preset changes: name, default, value.
    changes: list[tuple[str, str, str]]
    default: Figures
    preset: Figures
    facts: dict[str, str] = field(default_factory=dict[str, str])
    checked: int = 0

    @property
    def both(self) -> tuple[Figures, Figures]:
        """The figures under the default and under the preset."""
        return self.default, self.preset

    @property
    def ratio(self) -> float:
        """The preset's operations a second over the default's."""
        return self.preset.rate / self.default.rate

    @property
    def pair_ratios(self) -> list[float]:
        """The same ratio block by block: each pair of blocks ran one right after the other."""
        pairs = zip(self.default.rates, self.preset.rates, strict=True)
        return sorted(preset / default for default, preset in pairs)

    @property
    def verdict(self) -> str:
        """Whether the preset was "faster", "slower", or there is "no clear difference"."""
        ratios = self.pair_ratios
        # Five of six pairs must agree, or the difference is the machine's noise.
        low, high = ratios[len(ratios) // 6], ratios[-1 - len(ratios) // 6]
        if low > 1.01:
            return "faster"
        return "slower" if high < 0.99 else "no clear difference"


@dataclass
class Report:
    """A run of the demo."""

    command: str
    started: str
    seconds: float
    quick: bool
    data: str
    phases: list[PhaseReport]
    machine: dict[str, str | int] = field(default_factory=describe_machine)

    @property
    def checked(self) -> int:
        """How many answers were compared with those of pandas."""
        return sum(phase.checked for phase in self.phases)

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        document = asdict(self)
        document["checked"] = self.checked
        for row, phase in zip(document["phases"], self.phases, strict=True):
            row["ratio"] = round(phase.ratio, 3)
            row["verdict"] = phase.verdict
            for figures, found in ((row["default"], phase.default), (row["preset"], phase.preset)):
                del figures["sampled_ns"]
                figures["rates"] = [round(rate, 1) for rate in found.rates]
                figures["operations_per_second"] = round(found.rate, 1)
                figures["p50_microseconds"] = found.percentile_microseconds(50)
                figures["p99_microseconds"] = found.percentile_microseconds(99)
        return document


def show_rate(rate: float) -> str:
    """Operations a second, to three figures."""
    if rate >= 1e6:
        return f"{rate / 1e6:.2f} M"
    if rate >= 1e3:
        return f"{rate / 1e3:,.3g} k" if rate < 1e5 else f"{rate / 1e3:,.0f} k"
    return f"{rate:.3g}"


def show_latency(microseconds: float) -> str:
    """A latency, to three figures."""
    if microseconds >= 1e6:
        return f"{microseconds / 1e6:.3g} s"
    if microseconds >= 1e3:
        return f"{microseconds / 1e3:.3g} ms"
    return f"{microseconds * 1e3:.0f} ns" if microseconds < 1 else f"{microseconds:.3g} µs"


def show_size(count: int) -> str:
    """Bytes on the disk, to three figures or whole MB; nothing while they are not known."""
    if not count:
        return ""
    if count < 1e6:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e6:.3g} MB" if count < 1e8 else f"{count / 1e6:,.0f} MB"
