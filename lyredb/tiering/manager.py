"""`db.tiering`: the plan of an open database, made anew as its work changes."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import psutil

from lyredb._engine import DEFAULT_FAMILY, Engine
from lyredb.db.errors import ConfigError
from lyredb.db.stats import Stats
from lyredb.presets import format_size
from lyredb.presets.machine import this_machine
from lyredb.tiering import evidence, explanation
from lyredb.tiering.plan import Costs, Curves, Plan, Sizes, Split, plan, what_if

if TYPE_CHECKING:
    from lyredb.db.database import Database

FIRST_SECONDS = 1.0
"""From when memory is found to be short to the first plan: so long accesses are looked at first."""
SECONDS = 10.0
"""From one plan to the next."""
_KEEP = 0.5
"""What was seen before a plan weighs so much in the next one."""
_LEAST_ACCESSES = 1000

_log = logging.getLogger("lyredb")


@dataclass(frozen=True)
class Pin:
    """Keys whose leaves stay hot."""

    family: str
    prefix: Any
    bytes: int
    """Of their leaves, when they were pinned."""


@dataclass(frozen=True)
class Status:
    """How memory is divided, and since when."""

    budget: int
    """`memory_bytes`."""
    used: dict[str, int]
    """Bytes in memory now: "hot" with long values, "warm", "point_cache" and "other", which is always there."""
    plan: Plan | None
    """The plan in force; None: none was made yet, and all leaves are hot."""
    plans: int
    """How often another plan was taken."""
    looked: int
    """How often plans were thought about."""
    age: float | None
    """Seconds since then."""
    paused: bool
    answered: dict[str, int]
    """Gets since the last look, by the tier that answered: "hot", "warm", "record" and "cold"."""
    pins: tuple[Pin, ...]
    outlook: tuple[Plan, ...]
    """What 10 %, 50 % and 100 % more memory would be worth."""

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it; a pin's prefix as `repr` has it."""
        return {**asdict(self), "pins": [{**vars(pin), "prefix": repr(pin.prefix)} for pin in self.pins]}


class Tiering:
    """How a database divides its memory; `Database.tiering`.

    A thread of the database makes plans when memory is short: one second after that is noticed, which takes two at
    most, and every ten seconds from then on. What is set by hand (`hot_bytes`, `warm_bytes`, `point_cache_bytes`) it
    leaves alone.
    """

    def __init__(self, database: Database[Any, Any]) -> None:
        self._database = weakref.ref(database)
        self._lock = threading.RLock()
        self._costs, self._sizes = Costs(), Sizes()
        self._accesses: dict[str, tuple[float, float]] = {}
        self._plan: Plan | None = None
        self._plans = self._looked = 0
        self._looked_at: float | None = None
        self._scarce_since: float | None = None
        self._paused = self._warned = False
        self._before: Stats | None = None
        self._pins: list[Pin] = []

    def status(self, answered: dict[str, int] | None = None) -> Status:
        """How memory is divided now.

        Args:
            answered: What to tell of gets, in place of those since the last look.

        Raises:
            ClosedError: The database is closed.
        """
        database = self._open()
        stats = database.stats()
        figure = _numbers(stats.database)
        used = {
            "hot": figure["memory_leaves"] + figure["memory_long_values"],
            "warm": figure["memory_warm"],
            "point_cache": figure["memory_point_cache"],
        }
        used["other"] = max(figure["memory_used"] - sum(used.values()), 0)
        with self._lock:
            return Status(
                budget=figure["memory_budget"],
                used=used,
                plan=self._plan,
                plans=self._plans,
                looked=self._looked,
                age=None if self._looked_at is None else time.monotonic() - self._looked_at,
                paused=self._paused,
                answered=_answered(stats, self._before) if answered is None else answered,
                pins=tuple(self._pins),
                outlook=() if self._plan is None else tuple(what_if(self._plan)),
            )

    def explain(self) -> str:
        """A table: what each tier has and is to have, why, and what more memory would be worth.

        Raises:
            ClosedError: The database is closed.
        """
        return explanation.text(self.status())

    def curves(self) -> list[Curves]:
        """What is known of the accesses to each family since memory became short; without accesses before.

        Raises:
            ClosedError: The database is closed.
        """
        with self._lock:
            return self._look(1.0)

    def plan_now(self) -> Plan:
        """Makes a plan from what was seen, and follows it if it is at least 3 % cheaper than the one there is.

        Returns:
            The plan in force.

        Raises:
            ClosedError: The database is closed.
        """
        database = self._open()
        with self._lock:
            stats = database.stats()
            self._costs = evidence.costs(evidence.since(stats, self._before), self._costs)
            self._sizes = evidence.sizes(stats, self._sizes)
            self._before = stats
            found = plan(
                self._look(_KEEP),
                self._costs,
                self._sizes,
                _numbers(stats.database)["memory_budget"],
                fixed=evidence.fixed(database.settings(), sum(pin.bytes for pin in self._pins)),
                current=Split() if self._plan is None else self._plan.split,
            )
            # The bytes follow the budget and the settings, also where the shares stay.
            self._engine().plan_tiers(found.split.warm_permille, found.split.point_cache_permille)
            self._plan = found
            self._plans += found.replaces
            self._looked += 1
            self._looked_at = time.monotonic()
            return found

    def pin(self, *, prefix: Any, family: str | None = None, tier: Literal["hot"] = "hot") -> int:
        """Loads the leaves with keys that begin with `prefix`, and keeps them hot whatever else is read.

        It lasts until `unpin`, or until the family is dropped or the database closed. A pin of the same keys again
        loads and counts them anew.

        Args:
            prefix: As for `scan`; b"" is all keys.
            family: The family's name; None: the default one.
            tier: There are no pins in others than "hot".

        Returns:
            The bytes that their leaves take now, with the keys beside these in the first and the last of them. What is
            written to them later counts as memory, but not for the limit.

        Raises:
            ConfigError: All that is pinned would take more than half of `memory_bytes`; nothing is pinned.
            FamilyNotFoundError: There is no such family.
            ClosedError: The database is closed.
        """
        if tier != "hot":
            raise ConfigError(f"there are no pins in tier {tier!r}", suggestion='leave it out, or pass "hot"')
        found = self._open().existing_family(family or DEFAULT_FAMILY)
        with self._lock:
            # Once: it may be renamed meanwhile, which `family_renamed` then tells.
            name = found.name
            taken = self._engine().pin(name, found.key_codec, prefix)
            self._pins = [*self._pins_but(name, prefix), Pin(name, prefix, taken)]
        return taken

    def unpin(self, *, prefix: Any, family: str | None = None) -> bool:
        """Lets leaves go again that were pinned by the same `prefix`.

        Returns:
            Whether they were.

        Raises:
            FamilyNotFoundError: There is no such family.
            ClosedError: The database is closed.
        """
        found = self._open().existing_family(family or DEFAULT_FAMILY)
        with self._lock:
            name = found.name
            self._pins = self._pins_but(name, prefix)
            return self._engine().unpin(name, found.key_codec, prefix)

    def pins(self) -> list[Pin]:
        """What is pinned, in the order in which it was."""
        with self._lock:
            return list(self._pins)

    def _pins_but(self, family: str, prefix: Any) -> list[Pin]:
        return [pin for pin in self._pins if (pin.family, pin.prefix) != (family, prefix)]

    def family_renamed(self, old: str, new: str) -> None:
        """For the database: its pins, and the accesses that were counted, are those of `new` from now on."""
        with self._lock:
            self._pins = [replace(pin, family=new) if pin.family == old else pin for pin in self._pins]
            if old in self._accesses:
                self._accesses[new] = self._accesses.pop(old)

    def family_dropped(self, name: str) -> None:
        """For the database: nothing is pinned there, and nothing counted, should another family get its name."""
        with self._lock:
            self._pins = [pin for pin in self._pins if pin.family != name]
            self._accesses.pop(name, None)

    def forget(self) -> None:
        """Lets what was seen so far count for nothing, as when the work is another from now on.

        Raises:
            ClosedError: The database is closed.
        """
        with self._lock:
            self._look(0.0)

    def pause(self) -> None:
        """No further plans by themselves; the present one stays in force. `plan_now` still makes one."""
        with self._lock:
            self._paused = True

    def resume(self) -> None:
        """Takes `pause` back."""
        with self._lock:
            self._paused = False

    def tend(self) -> float:
        """For the thread that watches the database, while memory is short: makes a plan when one is due.

        Returns:
            The seconds until it should be called again.
        """
        now = time.monotonic()
        with self._lock:
            if self._scarce_since is None:
                self._scarce_since = now
                self._warn()
            due = self._scarce_since + FIRST_SECONDS if self._looked_at is None else self._looked_at + SECONDS
            if now < due:
                return due - now
            if not self._paused and sum(each.accesses for each in self._look(1.0)) >= _LEAST_ACCESSES:
                self.plan_now()
            return SECONDS if self._looked_at is not None else FIRST_SECONDS

    def _look(self, keep: float) -> list[Curves]:
        seen = [evidence.Seen(*row) for row in self._engine().access_curves(keep)]
        found = evidence.curves(seen, self._accesses)
        self._accesses = {each.name: (each.accesses * keep, each.accesses * each.point_reads * keep) for each in found}
        return found

    def _warn(self) -> None:
        """Once, if the machine does not have the memory that the database may take."""
        if self._warned:
            return
        self._warned = True
        database = self._open()
        figure = _numbers(database.stats().database)
        budget = figure["memory_budget"]
        has = min(psutil.virtual_memory().available + figure["memory_used"], this_machine().memory_bytes)
        if budget > has:
            _log.warning(
                "%s: memory_bytes is %s, and the machine has %s for it: set less, or it will swap",
                database.path,
                format_size(budget),
                format_size(has),
            )

    def _engine(self) -> Engine:
        return self._open()._engine  # pyright: ignore[reportPrivateUsage]

    def _open(self) -> Database[Any, Any]:
        database = self._database()
        if database is None:
            raise ReferenceError("the database is gone")
        return database


def _numbers(figures: Mapping[str, float | str]) -> dict[str, int]:
    return {name: value for name, value in figures.items() if isinstance(value, int)}


def _answered(later: Stats, earlier: Stats | None) -> dict[str, int]:
    def total(*names: str) -> int:
        now, before = (
            sum(_numbers(row)[name] for row in (stats.families.values() if stats else ()) for name in names)
            for stats in (later, earlier)
        )
        # A family that was dropped meanwhile takes its counts along.
        return max(now - before, 0)

    beside = {
        "warm": total("gets_from_warm"),
        "record": total("gets_from_records"),
        "cold": total("gets_from_disk"),
    }
    return {"hot": max(total("gets_found", "gets_absent") - sum(beside.values()), 0), **beside}
