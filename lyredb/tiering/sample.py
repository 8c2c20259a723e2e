"""Keys of a family to read for a trial: all of it, or some from everywhere where that would take too long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from lyredb import _engine
from lyredb.db.database import Database
from lyredb.db.family import Family

MOST_KEYS = 1_000_000
WALK_SECONDS = 8.0
"""A family with more keys than can be walked over in this time is sampled by jumps."""
JUMP_SECONDS = 7.0
MOST_JUMPS = 100_000
KEYS_A_JUMP = 8
"""Neighbours, most of them in one leaf, which is read anyway."""

_AT_ONCE = 5_000
_JUMPS_AT_ONCE = 100
_SEED = 2013
# What is compared of two keys, after what they have in common.
_DIGITS = 8

Progress: TypeAlias = Callable[[int, int], object]
_Late: TypeAlias = Callable[[float], bool]
"""Tells whether so many seconds are over."""
_Stored: TypeAlias = "_engine.Family[bytes, bytes]"


@dataclass(frozen=True)
class Sample:
    """Keys of a family."""

    keys: list[Any]
    stride: int | None
    """Every so many of them, so 1: all; None: some from everywhere."""

    def __str__(self) -> str:
        number = f"{len(self.keys):,}"
        if self.stride is None:
            return f"{number} keys from all over the family; all would read more from the disk"
        return f"all {number} keys" if self.stride == 1 else f"{number} keys, one in {self.stride} of all"


def take(database: Database[Any, Any], family: Family[Any, Any], progress: Progress | None = None) -> Sample:
    """A million keys at most, evenly from all, if walking over these takes no more than `WALK_SECONDS`; else those
    found in `JUMP_SECONDS` by jumps to places all over the range of the keys. Where many keys lie close together,
    jumps find a smaller part of them.

    Args:
        database: What the family is of.
        family: Which.
        progress: Called with milliseconds that are over, and with the most it may take.
    """
    begin = time.perf_counter()

    def late(seconds: float) -> bool:
        over = time.perf_counter() - begin
        if progress is not None:
            progress(int(1000 * over), int(1000 * (WALK_SECONDS + JUMP_SECONDS)))
        return over > seconds

    plain = _engine.Codec("bytes")
    # As they are stored: a place between two keys need not be what a codec makes of something.
    stored = _engine.Family[bytes, bytes](database._engine, family.name, plain, plain)  # pyright: ignore[reportPrivateUsage]
    found, stride = _walk(stored, late) or (_jump(stored, late), None)
    return Sample([family.key_codec.decode(key) for key in found], stride)


def _walk(stored: _Stored, late: _Late) -> tuple[list[bytes], int] | None:
    """Every so many keys; None if there are too many."""
    found, stride = list[bytes](), 1
    for number, key in enumerate(stored.scan().keys()):
        if number % stride == 0:
            found.append(key)
            if len(found) == MOST_KEYS:
                found, stride = found[::2], stride * 2
        if number % _AT_ONCE == 0 and late(WALK_SECONDS):
            return None
    return found, stride


def _jump(stored: _Stored, late: _Late) -> list[bytes]:
    """Some keys: those at the middle of all, then those at the middles of both halves, and so on."""
    found = list(stored.scan(limit=1).keys())
    last = next(stored.scan(reverse=True, limit=1).keys(), b"")
    gaps, order = _with_room(found[0], last) if found else [], random.Random(_SEED)
    jumps = 0
    while gaps:
        # So that what the time allows of this round is from everywhere.
        order.shuffle(gaps)
        narrower: list[tuple[bytes, bytes]] = []
        for low, high in gaps:
            jumps += 1
            if jumps > MOST_JUMPS or (jumps % _JUMPS_AT_ONCE == 0 and late(WALK_SECONDS + JUMP_SECONDS)):
                return found
            place = _middle(low, high)
            above = list(stored.scan(place, high, limit=KEYS_A_JUMP).keys())
            # A gap is between two keys, however far they are from where it was looked for them.
            below = list(stored.scan(low, place, start_inclusive=False, reverse=True, limit=1).keys())
            found += above + below
            narrower += [gap for key in below for gap in _with_room(low, key)]
            if len(above) == KEYS_A_JUMP:
                narrower += _with_room(above[-1], high)
        gaps = narrower
    return found


def _with_room(low: bytes, high: bytes) -> list[tuple[bytes, bytes]]:
    """The gap between two keys, if there is a place in its middle."""
    _, first, last = _digits(low, high)
    return [(low, high)] if last - first >= 2 else []


def _middle(low: bytes, high: bytes) -> bytes:
    """A place above `low` and below `high`, as far from one as from the other, where there is one."""
    start, first, last = _digits(low, high)
    return start + ((first + last) // 2).to_bytes(_DIGITS, "big")


def _digits(low: bytes, high: bytes) -> tuple[bytes, int, int]:
    """What two keys begin with, and what follows in each, as a number."""
    same = next((at for at, (one, other) in enumerate(zip(low, high, strict=False)) if one != other), len(low))
    first, last = (key[same:][:_DIGITS].ljust(_DIGITS, b"\0") for key in (low, high))
    return low[:same], int.from_bytes(first, "big"), int.from_bytes(last, "big")
