"""Window after window: reads the engine, and hands each family's tuner its part."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Protocol

from lyredb.autotune import blend, cost, features, windows
from lyredb.autotune.cost import Spent, Timings
from lyredb.autotune.family import FamilyTuner, Tools, Window
from lyredb.autotune.features import Reading
from lyredb.autotune.hands import Engine, Hands
from lyredb.autotune.journal import Journal, Value
from lyredb.autotune.memory import Memory
from lyredb.autotune.observing import Alarm, Recognises
from lyredb.autotune.shared import Shared
from lyredb.autotune.status import FamilyStatus
from lyredb.db.errors import FamilyNotFoundError
from lyredb.presets import Machine

# After a longer pause between two windows, as of a machine that slept, what lies between says nothing.
_LONGEST_WINDOW = 5.0


class Memories(Protocol):
    """Keeps what won, in the database."""

    def load(self, family: str, /) -> Memory:
        """What is known of a family's work."""
        ...

    def save(self, family: str, memory: Memory, /) -> None:
        """Keeps what is known."""
        ...


class Loop:
    """The tuning of one database. Not for several threads at once."""

    def __init__(
        self,
        engine: Engine,
        memories: Memories,
        journal: Journal,
        *,
        recogniser: Recognises,
        alarm: Callable[[], Alarm],
        machine: Machine,
        start: Mapping[str, Value] | None = None,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        ended: Callable[[], bool] = lambda: False,
        explore: bool = True,
    ) -> None:
        """Begins: the engine's sketch runs from now on.

        Args:
            engine: The database's.
            memories: Keep what won.
            journal: Takes the decisions.
            recogniser: Tells kinds of work.
            alarm: Makes the alarm of a family.
            machine: What presets are scaled to.
            start: Settings of a preset that the user named.
            rng: Draws the order of windows.
            clock: Seconds.
            ended: Whether to give up what takes long.
            explore: Whether better settings than the presets' are looked for.
        """
        self._engine, self._memories, self._clock, self._ended = engine, memories, clock, ended
        self._tools = Tools(journal, recogniser, alarm, machine, rng or random.Random(), explore)
        family_names, database_names = blend.usual("family"), blend.usual("database")
        start = start or {}
        self._start = {name: value for name, value in start.items() if name in family_names}
        self.shared = Shared(
            engine, journal, machine, {name: value for name, value in start.items() if name in database_names}
        )
        self.windows = 0
        self._families: dict[str, FamilyTuner] = {}
        self._hands: dict[str, Hands] = {}
        self._seen: set[str] = set()
        self._readings: dict[str, Reading] = {}
        self._timings: dict[str, Timings] = {}
        self._read_at = 0.0
        self._read()
        for name in self._readings:
            self._meet(name)

    def tick(self, *, frozen: bool = False) -> None:
        """Takes a window: all that happened since the last call."""
        earlier, earlier_timings, earlier_at = self._readings, self._timings, self._read_at
        self._read()
        seconds = self._read_at - earlier_at
        if seconds > _LONGEST_WINDOW:
            return
        self.windows += 1
        evictions = 0.0
        spent: dict[str, Spent] = {}
        for name, later in self._readings.items():
            before = earlier.get(name)
            if before is None:
                self._meet(name)
                continue
            evictions += max(later.get("evictions", 0.0) - before.get("evictions", 0.0), 0.0)
            window = self._window(name, before, later, earlier_timings.get(name, {}), seconds)
            if window.vector is None and name not in self._families:
                continue
            spent[name] = window.spent
            try:
                self._family(name).look(window, frozen=frozen)
            except FamilyNotFoundError:
                self._forget(name)
        for name in [name for name in self._families if name not in self._readings]:
            self._forget(name)
        if not frozen:
            self.shared.look(evictions, lambda: self._shares(spent))
        self._skip_changes()

    def statuses(self) -> dict[str, FamilyStatus]:
        """How each family stands."""
        return {name: family.status for name, family in self._families.items()}

    def rest(self) -> None:
        """Ends what is being tried; what has won stays in force."""
        self._each(FamilyTuner.rest)

    def roll_back(self, family: str | None) -> None:
        """To the default, and what won is forgotten: of one family, or of all and of the database."""
        if family is None:
            self.shared.roll_back()
        self._each(FamilyTuner.roll_back, family)

    def give_up(self) -> None:
        """All settings back at once, as tuning has failed."""
        self._each(FamilyTuner.give_up)
        self.shared.roll_back()

    def _each(self, act: Callable[[FamilyTuner], None], only: str | None = None) -> None:
        for name, family in list(self._families.items()):
            if only in {None, name}:
                try:
                    act(family)
                except FamilyNotFoundError:
                    self._forget(name)

    def _read(self) -> None:
        self._readings = dict(self._engine.sense())
        self._timings = dict(self._engine.timings())
        self._read_at = self._clock()

    def _skip_changes(self) -> None:
        """Where a change took time, the next window begins behind it."""
        moved = [name for name, hands in self._hands.items() if hands.moved]
        if not moved:
            return
        fresh = self._engine.timings()
        for name in moved:
            self._hands[name].moved = False
            if name in fresh:
                self._timings[name] = fresh[name]

    def _meet(self, name: str) -> None:
        """A family that has just come: what was good for it last is in force before it does anything."""
        try:
            memory = self._memories.load(name)
            if memory.in_force is not None or memory.leaves_unsure or self._start:
                self._family(name)
        except FamilyNotFoundError:
            self._forget(name)

    def _family(self, name: str) -> FamilyTuner:
        found = self._families.get(name)
        if found is None:
            hands = self._hands[name] = Hands(self._engine, name, self._ended)
            found = FamilyTuner(
                name,
                hands,
                self._tools,
                memory=self._memories.load(name),
                save=lambda memory: self._memories.save(name, memory),
                start=self._start,
            )
            self._families[name] = found
        return found

    def _forget(self, name: str) -> None:
        self._families.pop(name, None)
        self._hands.pop(name, None)
        self._seen.discard(name)

    def _window(self, name: str, before: Reading, later: Reading, timings: Timings, seconds: float) -> Window:
        if not windows.enough(before, later):
            return Window(None, Spent(), seconds)
        if name not in self._seen:
            # Its sketch has only begun in this one.
            self._seen.add(name)
            return Window(None, Spent(), seconds)

        def grown(counter: str) -> float:
            return max(later.get(counter, 0.0) - before.get(counter, 0.0), 0.0)

        spent = Spent(
            cost.between(timings, self._timings.get(name, {})),
            scans=grown("scans"),
            rows=grown("rows_scanned"),
            batches=grown("batches"),
            records=grown("batch_records"),
            seconds=seconds,
        )
        return Window(features.vector(before, later), spent, seconds)

    def _shares(self, spent: Mapping[str, Spent]) -> dict[str, float]:
        """How probable each kind of work is, over all families, by what their work costs."""
        shares: defaultdict[str, float] = defaultdict(float)
        costs = {name: each.nanoseconds for name, each in spent.items() if name in self._families}
        whole = sum(costs.values())
        for name, cost_of_it in costs.items():
            for kind, share in self._families[name].status.probabilities.items():
                shares[kind] += share * cost_of_it / whole if whole > 0.0 else 0.0
        return dict(shares)
