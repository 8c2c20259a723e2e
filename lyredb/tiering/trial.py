"""Reading a database as a program might, to see what its memory would be worth."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lyredb.db.database import Database
from lyredb.db.errors import ConfigError
from lyredb.db.family import Family
from lyredb.tiering.manager import Status

MOST_KEYS = 1_000_000
SKEW = 0.99
_UNIFORM = 0.2
_PLANS = 4
_AT_ONCE = 500
_SEED = 2013


def run(
    database: Database[Any, Any],
    family: Family[Any, Any],
    *,
    seconds: float,
    trace: Sequence[Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Status:
    """Reads for some seconds and plans meanwhile; the last plan is in the status.

    Args:
        database: What is planned for; nothing else should read it.
        family: Of the database, which is read.
        seconds: For how long.
        trace: Keys, read one after the other and over again. None: a sample of the family's, as `mixture` has them.
        progress: Called with milliseconds that are over, and with all of them.

    Raises:
        ConfigError: There are no keys.
    """
    keys = _sample(family) if trace is None else trace
    if not keys:
        raise ConfigError("there are no keys to read", suggestion="name another family")
    draw = mixture(keys) if trace is None else itertools.cycle(keys)
    # The walk over the keys is not the work to plan for.
    database.tiering.forget()
    begin = time.perf_counter()
    for step in range(1, _PLANS + 1):
        while (over := time.perf_counter() - begin) < seconds * step / _PLANS:
            for key in itertools.islice(draw, _AT_ONCE):
                family.get(key)
            if progress is not None:
                progress(int(over * 1000), int(seconds * 1000))
        if step == _PLANS:
            # What the plan before has come to.
            answered = database.tiering.status().answered
            database.tiering.plan_now()
            return database.tiering.status(answered)
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


def _sample(family: Family[Any, Any]) -> list[Any]:
    """Every key, or every so many, where there are more than a million."""
    found: list[Any] = []
    stride = 1
    for number, key in enumerate(family.scan().keys()):
        if number % stride == 0:
            found.append(key)
            if len(found) == MOST_KEYS:
                found, stride = found[::2], stride * 2
    return found
