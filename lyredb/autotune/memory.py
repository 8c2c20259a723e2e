"""What won before, by what the work looked like: kept in the database, in the note of the family."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lyredb import presets
from lyredb.autotune.features import FEATURES, NAMES, Vector
from lyredb.autotune.journal import Value

_MOST = 16
# What differs by so much in one feature is another kind of work; noise of a window is a fraction of it.
_SCALE = np.array([0.15 if feature.unit == "share" else 2.0 for feature in FEATURES])
_FURTHEST = 3.0
NEAR = 0.6
"""Of the distance between signatures: below it they are of the same work."""
# Vectors of other features cannot be compared.
_FEATURES = zlib.crc32(",".join(NAMES).encode())


@dataclass(frozen=True)
class Remembered:
    """What won for some work.

    Attributes:
        kind: What the work was taken for.
        vector: Its mean feature vector, rounded.
        settings: What was best and is not the default; empty if the default was.
        gain: Its interval: logarithms of cost(default) / cost(settings), low, middle and high; None: not measured.
        failures: How often settings for it have not proved better than the default.
    """

    kind: str
    vector: tuple[float, ...]
    settings: Mapping[str, Value]
    gain: tuple[float, float, float] | None
    failures: int = 0


def distance(one: Vector | Iterable[float], other: Vector | Iterable[float]) -> float:
    """How unlike two signatures are: the root mean square over the features, each by its scale."""
    apart = np.abs(np.asarray(one) - np.asarray(other)) / _SCALE
    return float(np.sqrt(np.mean(np.minimum(apart, _FURTHEST) ** 2)))


class Memory:
    """The signatures of one family, and which of them was in force last."""

    def __init__(self) -> None:
        # The one used last is the last one.
        self._known: list[Remembered] = []
        self.in_force: Remembered | None = None
        self.leaves_unsure = False
        """Whether leaves may be cut otherwise than the settings in force say: a trial has begun and not ended."""

    def __len__(self) -> int:
        return len(self._known)

    def nearest(self, vector: Vector) -> Remembered | None:
        """What is known of work that looks like this; None if there is nothing near enough."""
        found = min(self._known, key=lambda each: distance(each.vector, vector), default=None)
        return found if found is not None and distance(found.vector, vector) < NEAR else None

    def remember(self, found: Remembered) -> None:
        """Keeps it, in place of what is known of work that looks the same; the least lately used goes."""
        rounded = tuple(round(float(number), 3) for number in found.vector)
        gain = found.gain and (round(found.gain[0], 4), round(found.gain[1], 4), round(found.gain[2], 4))
        found = Remembered(found.kind, rounded, dict(found.settings), gain, found.failures)
        self._known = [each for each in self._known if distance(each.vector, rounded) >= NEAR / 2]
        self._known = [*self._known, found][-_MOST:]
        self.in_force = found if found.settings else None

    def forget(self, vector: Vector | None = None) -> None:
        """Forgets work that looks like this, or all."""
        self._known = [] if vector is None else [each for each in self._known if distance(each.vector, vector) >= NEAR]
        self.in_force = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "features": _FEATURES,
            "known": [
                {
                    "kind": each.kind,
                    "vector": each.vector,
                    "settings": each.settings,
                    "gain": each.gain,
                    "failures": each.failures,
                }
                for each in self._known
            ],
            "in_force": self._known.index(self.in_force) if self.in_force in self._known else None,
            "leaves_unsure": self.leaves_unsure,
        }

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Memory:
        """What `as_dict` made; what another version wrote and this one cannot use is left out."""
        memory = cls()
        if told.get("features") != _FEATURES:
            return memory
        memory.leaves_unsure = told["leaves_unsure"]
        names = {each.name: each for each in presets.tunables() if each.tuner and each.scope == "family"}
        for at, row in enumerate(told["known"]):
            usable = {
                name: value
                for name, value in row["settings"].items()
                if name in names and names[name].refusal(value) is None
            }
            gain = None if row["gain"] is None else (row["gain"][0], row["gain"][1], row["gain"][2])
            memory._known.append(Remembered(row["kind"], tuple(row["vector"]), usable, gain, row["failures"]))
            if told["in_force"] == at and usable:
                memory.in_force = memory._known[-1]
        return memory


KEY = "autotune"
"""Of a family's note, which is JSON: where its memory is."""


def from_note(note: str | None) -> Memory:
    """The memory in a family's note; an empty one if there is none."""
    told: dict[str, Any] = json.loads(note) if note else {}
    return Memory.of(told.get(KEY, {}))


def into_note(note: str | None, memory: Memory) -> str:
    """The note with this memory in it, and all else as it was."""
    told: dict[str, Any] = json.loads(note) if note else {}
    return json.dumps({**told, KEY: memory.as_dict()}, separators=(",", ":"))
