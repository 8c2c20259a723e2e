"""An engine whose costs are what a test says, for tuning without waiting."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lyredb import presets
from lyredb.autotune.alarm import ShiftAlarm
from lyredb.autotune.features import FEATURES, NAMES
from lyredb.autotune.journal import Decision, Journal
from lyredb.autotune.kinds import KINDS, UNKNOWN, Recognition
from lyredb.autotune.loop import Loop
from lyredb.autotune.memory import Memory
from lyredb.db.errors import FamilyNotFoundError
from lyredb.presets import Machine

SECONDS = 0.25
USUAL = {each.name: each.default for each in presets.tunables() if each.scope == "family"}

# What a second of a kind of work consists of: counters.
RATES: dict[str, dict[str, float]] = {
    "oltp": {"gets_found": 80_000, "puts": 40_000, "bytes_read": 8e6, "bytes_written": 4e6},
    "olap": {"scans": 800, "rows_scanned": 8e6, "scans_of_more": 800, "bytes_read": 8e8},
    "cache": {"gets_found": 60_000, "gets_absent": 20_000, "puts": 20_000, "puts_expiring": 20_000, "bytes_read": 6e7},
    "nothing": {},
}
SAMPLED = {"gets_found": ("get", 256), "puts": ("put", 64), "scans": ("scan_row", 16)}
BASE_NS = {"get": 400.0, "put": 900.0, "scan_row": 50.0, "scan": 500_000.0}

Costs = Callable[[str, Mapping[str, Any]], float]
"""The factor on the cost of an operation ("get", "put", "scan_row"), by the settings in force."""


def same(kind: str, settings: Mapping[str, Any]) -> float:
    del kind, settings
    return 1.0


@dataclass
class Family:
    work: str = "nothing"
    costs: Costs = same
    tuned: dict[str, Any] = field(default_factory=dict)
    pinned: dict[str, Any] = field(default_factory=dict)
    layout: Any = USUAL["leaf_bytes"]
    counters: dict[str, float] = field(default_factory=dict)
    timings: dict[str, dict[tuple[float, float], int]] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        return {**USUAL, **self.tuned, **self.pinned}


class SimulatedEngine:
    """What `lyredb.autotune.hands.Engine` asks for."""

    def __init__(self, *names: str, seed: int = 1, noise: float = 0.05) -> None:
        self.families = {name: Family() for name in names or ("orders",)}
        self.random = random.Random(seed)
        self.noise = noise
        self.now = 0.0
        self.reshapes = 0
        self.database: dict[str, Any] = {}
        self.evictions = 0.0
        self.fails: Exception | None = None

    def sense(self, go_on: bool = True) -> dict[str, dict[str, float]]:
        if self.fails is not None:
            raise self.fails
        return {name: {**family.counters, "evictions": self.evictions} for name, family in self.families.items()}

    def timings(self) -> dict[str, Any]:
        return {
            name: {
                kind: (0, [(*bounds, count) for bounds, count in each.items()]) for kind, each in row.timings.items()
            }
            for name, row in self.families.items()
        }

    def settings(self, family: str | None) -> list[tuple[str, Any, bool]]:
        if family is None:
            return [("memory_bytes", self.database.get("memory_bytes", 1 << 30), False)]
        row = self._family(family)
        return [(name, value, name in row.pinned) for name, value in row.settings.items()]

    def tune(self, family: str | None, settings: Mapping[str, Any]) -> None:
        if family is None:
            self.database = dict(settings)
        else:
            self._family(family).tuned = dict(settings)

    def reshape(self, family: str, progress: Any) -> int:
        row = self._family(family)
        self.reshapes += row.layout != row.settings["leaf_bytes"]
        row.layout = row.settings["leaf_bytes"]
        return 1

    def _family(self, name: str) -> Family:
        if name not in self.families:
            raise FamilyNotFoundError(f"there is no family {name!r}")
        return self.families[name]

    def pass_window(self) -> None:
        """250 ms of work."""
        self.now += SECONDS
        for family in self.families.values():
            slow = self.random.gauss(1.0, self.noise)
            for counter, rate in RATES[family.work].items():
                count = rate * SECONDS * self.random.gauss(1.0, 0.01)
                family.counters[counter] = family.counters.get(counter, 0.0) + count
                if counter in SAMPLED:
                    kind, every = SAMPLED[counter]
                    factor = family.costs(kind, {**family.settings, "leaf_bytes": family.layout})
                    self._time(family, kind, int(count / every), BASE_NS[kind] * factor * slow)
                    if kind == "scan_row":
                        self._time(family, "scan", int(count / every), BASE_NS["scan"] * factor * slow)
            sketch = {"top_16_share": 0.1, "distinct_share": 0.9, "heat_entropy": 0.95}
            family.counters.update(sketch)

    def _time(self, family: Family, kind: str, count: int, nanoseconds: float) -> None:
        buckets = family.timings.setdefault(kind, {})
        for _ in range(count):
            value = max(nanoseconds * self.random.lognormvariate(0.0, 0.3), 1.0)
            low = 1.02 ** int(np.log(value) / np.log(1.02))
            buckets[low, low * 1.02] = buckets.get((low, low * 1.02), 0) + 1


class Knowing:
    """A recogniser that knows by the shares of operations."""

    def __init__(self) -> None:
        self.kind: str | None = None

    def recognise(self, vectors: Any) -> Recognition:
        mean = dict(zip(NAMES, np.mean(np.array(vectors), axis=0), strict=True))
        kind = self.kind or (
            "olap" if mean["scan_share"] > 0.5 else "cache" if mean["expiring_share"] > 0.5 else "oltp"
        )
        return Recognition(
            kind, {each: float(each == kind) for each in KINDS} if kind != UNKNOWN else dict.fromkeys(KINDS, 0.2)
        )


class Kept:
    """Memories in a dict."""

    def __init__(self) -> None:
        self.notes: dict[str, dict[str, Any]] = {}

    def load(self, family: str) -> Memory:
        return Memory.of(self.notes.get(family, {}))

    def save(self, family: str, memory: Memory) -> None:
        self.notes[family] = memory.as_dict()


class Bench:
    """A loop over a simulated engine."""

    def __init__(self, engine: SimulatedEngine, kept: Kept | None = None, **options: Any) -> None:
        self.engine = engine
        self.kept = kept or Kept()
        self.told: list[Decision] = []
        self.journal = Journal(self.told.append, lambda: engine.now)
        self.recogniser = Knowing()
        deviation = np.array([0.02 if feature.unit == "share" else 0.2 for feature in FEATURES])
        self.loop = Loop(
            engine,
            self.kept,
            self.journal,
            recogniser=self.recogniser,
            alarm=lambda: ShiftAlarm(deviation),
            machine=Machine(16 << 30, 4),
            rng=random.Random(7),
            clock=lambda: engine.now,
            **{"explore": False, **options},
        )

    def run(self, windows: int, *, frozen: bool = False) -> None:
        for _ in range(windows):
            self.engine.pass_window()
            self.loop.tick(frozen=frozen)

    def kinds(self, family: str = "orders") -> list[str]:
        return [each.kind for each in self.journal.decisions(family)]

    def status(self, family: str = "orders") -> Any:
        return self.loop.statuses()[family]
