"""Plain caches to compare with."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from sortedcontainers import SortedList


def exact_curve(trace: Iterable[int]) -> tuple[list[int], int]:
    """Mattson's stack distances, sorted, without those that are infinite; and how many accesses there are."""
    last: dict[int, int] = {}
    times = SortedList()
    distances = []
    now = 0
    for now, key in enumerate(trace, 1):
        before = last.get(key)
        if before is not None:
            distances.append(len(times) - times.index(before))
            times.remove(before)
        times.add(now)
        last[key] = now
    return sorted(distances), now


def lru(trace: Iterable[int], size: int) -> int:
    """Hits of the least-recently-used."""
    cache: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for key in trace:
        if key in cache:
            hits += 1
            cache.move_to_end(key)
            continue
        if len(cache) == size:
            cache.popitem(last=False)
        cache[key] = None
    return hits


def arc(trace: Iterable[int], size: int) -> int:
    """Hits of Megiddo and Modha's adaptive replacement cache, FAST '03."""
    recent, frequent, gone_recent, gone_frequent = (OrderedDict[int, None]() for _ in range(4))
    target, hits = 0.0, 0

    def make_room(in_gone_frequent: bool) -> None:
        if recent and (len(recent) > target or (in_gone_frequent and len(recent) == target)):
            gone_recent[recent.popitem(last=False)[0]] = None
        else:
            gone_frequent[frequent.popitem(last=False)[0]] = None

    for key in trace:
        if key in recent or key in frequent:
            hits += 1
            (recent if key in recent else frequent).pop(key)
            frequent[key] = None
        elif key in gone_recent:
            target = min(size, target + max(1.0, len(gone_frequent) / len(gone_recent)))
            make_room(False)
            del gone_recent[key]
            frequent[key] = None
        elif key in gone_frequent:
            target = max(0.0, target - max(1.0, len(gone_recent) / len(gone_frequent)))
            make_room(True)
            del gone_frequent[key]
            frequent[key] = None
        else:
            if len(recent) + len(gone_recent) == size:
                if len(recent) < size:
                    gone_recent.popitem(last=False)
                    make_room(False)
                else:
                    recent.popitem(last=False)
            elif len(recent) + len(frequent) + len(gone_recent) + len(gone_frequent) >= size:
                if len(recent) + len(frequent) + len(gone_recent) + len(gone_frequent) == 2 * size:
                    gone_frequent.popitem(last=False)
                if len(recent) + len(frequent) == size:
                    make_room(False)
            recent[key] = None
    return hits
