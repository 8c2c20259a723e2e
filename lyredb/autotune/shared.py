"""What all families share: the memory of the database, which has one owner."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import psutil

from lyredb.autotune import blend
from lyredb.autotune.hands import Engine
from lyredb.autotune.journal import Journal, Value
from lyredb.presets import Machine, format_size

MEMORY = "memory_bytes"
# Memory is short when leaves were dropped for others in so many windows of the last so many.
_SHORT_WINDOWS, _OF_WINDOWS = 4, 8
# From one change to the next, in windows: so long the new memory fills.
_PAUSE = 16
# Of what the machine has free, half stays free; below a tenth of all, what was taken is given back.
_KEPT_FREE, _LEAST_FREE = 0.5, 0.1


class Shared:
    """Lets the database have more memory when it is short of it and the machine has it."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        machine: Machine,
        start: Mapping[str, Value],
        free: Callable[[], int] = lambda: int(psutil.virtual_memory().available),
    ) -> None:
        """Begins with the settings of a preset that the user named.

        Args:
            engine: The database's.
            journal: Takes the decisions.
            machine: What presets are scaled to.
            start: Settings for the whole database.
            free: Bytes that the machine has free.
        """
        self._engine, self._journal, self._machine, self._free = engine, journal, machine, free
        self._start = dict(start)
        self.in_force: dict[str, Value] = dict(start)
        self._short = [False] * _OF_WINDOWS
        self._since = _PAUSE
        if start:
            engine.tune(None, start)

    def look(self, evictions: float, shares: Callable[[], Mapping[str, float]]) -> None:
        """Takes a window.

        Args:
            evictions: Leaves that were dropped from memory in it.
            shares: How probable each kind of work is, over all families, weighted by what their work costs.
        """
        self._short = [*self._short[1:], evictions > 0.0]
        self._since += 1
        if self._since < _PAUSE:
            return
        if sum(self._short) >= _SHORT_WINDOWS:
            self._grow(shares())
        elif self.in_force != self._start and self._free() < self._machine.memory_bytes * _LEAST_FREE:
            self._give_back()

    def _grow(self, shares: Mapping[str, float]) -> None:
        now, pinned = next(
            (int(value), pinned) for name, value, pinned in self._engine.settings(None) if name == MEMORY
        )
        most = int(blend.blend(shares, self._machine, scope="database").get(MEMORY, 0)) if shares else 0
        free = self._free()
        wanted = min(now * 2, most, now + int(free * _KEPT_FREE)) >> 20 << 20
        self._since = 0
        if pinned or wanted <= now:
            return
        self._set({**self.in_force, MEMORY: wanted})
        self._journal.note(
            None,
            "applied",
            f"memory is short: memory_bytes {format_size(now)} -> {format_size(wanted)}, of {format_size(free)} free",
            seen={"windows short of memory": sum(self._short), "free": free},
            changed={MEMORY: (now, wanted)},
        )

    def _give_back(self) -> None:
        before = self.in_force
        self._since = 0
        self._set(self._start)
        self._journal.note(
            None,
            "rollback",
            "the machine is short of memory: what was taken is given back",
            seen={"free": self._free()},
            changed={MEMORY: (before[MEMORY], self._start.get(MEMORY, blend.usual("database")[MEMORY]))},
        )

    def roll_back(self) -> None:
        """To the default."""
        self._start = {}
        self._set({})

    def _set(self, settings: Mapping[str, Value]) -> None:
        self._engine.tune(None, settings)
        self.in_force = dict(settings)
