"""Reading a database as a program might, to see what its memory would be worth."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lyredb.db.database import Database
from lyredb.db.errors import ConfigError
from lyredb.db.family import Family
from lyredb.tiering.manager import Status
from lyredb.tiering.sample import Sample

SKEW = 0.99
_UNIFORM = 0.2
_PLANS = 4
_AT_ONCE = 500
_SEED = 2013


@dataclass(frozen=True)
class Work:
    """What a trial reads."""

    keys: Sequence[Any]
    in_order: bool
    """One after the other and over again, as a trace; or else as `mixture` has them."""
    told: str

    @classmethod
    def of_trace(cls, keys: Sequence[Any]) -> Work:
        """A trace's keys."""
        return cls(keys, True, f"the trace's {len(keys):,} keys")

    @classmethod
    def of_sample(cls, found: Sample) -> Work:
        """A mixture of a family's own keys."""
        return cls(found.keys, False, str(found))

    def draw(self) -> Iterator[Any]:
        """Keys for ever."""
        return itertools.cycle(self.keys) if self.in_order else mixture(self.keys)


@dataclass(frozen=True)
class Trial:
    """What came of it."""

    status: Status
    """With the last plan."""
    based_on: str
    """What was read."""


def run(
    database: Database[Any, Any],
    family: Family[Any, Any],
    work: Work,
    *,
    seconds: float,
    progress: Callable[[int, int], object] | None = None,
) -> Trial:
    """Reads for some seconds and plans meanwhile.

    Args:
        database: What is planned for; nothing else should read it.
        family: Of the database, which is read.
        work: What is read of it.
        seconds: For how long.
        progress: Called with milliseconds that are over, and with all of them.

    Raises:
        ConfigError: There are no keys.
    """
    if not work.keys:
        raise ConfigError("there are no keys to read", suggestion="name another family")
    draw, gets = work.draw(), 0
    # Looking for keys is not the work to plan for.
    database.tiering.forget()
    begin = time.perf_counter()
    for step in range(1, _PLANS + 1):
        while (over := time.perf_counter() - begin) < seconds * step / _PLANS:
            for key in itertools.islice(draw, _AT_ONCE):
                family.get(key)
            gets += _AT_ONCE
            if progress is not None:
                progress(int(over * 1000), int(seconds * 1000))
        if step == _PLANS:
            # What the plan before has come to.
            answered = database.tiering.status().answered
            database.tiering.plan_now()
            told = f"{gets:,} gets in {time.perf_counter() - begin:.1f} s, of {work.told}"
            return Trial(database.tiering.status(answered), told)
        database.tiering.plan_now()
    raise AssertionError("unreachable: the last step returns")


def mixture(keys: Sequence[Any]) -> Iterator[Any]:
    """Keys for ever: four of five by Zipf's law, the others at random; which are asked for most is random, too."""
    chosen, count = random.Random(_SEED), len(keys)
    order = list(range(count))
    chosen.shuffle(order)
    # The inverse of the law's integral.
    power, span = 1 / (1 - SKEW), count ** (1 - SKEW) - 1
    while True:
        if chosen.random() < _UNIFORM:
            yield keys[chosen.randrange(count)]
        else:
            rank = int((span * chosen.random() + 1) ** power)
            yield keys[order[min(rank, count) - 1]]
