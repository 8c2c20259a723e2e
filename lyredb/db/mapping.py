"""What families, snapshots and transactions share: the ways of a mapping that is in key order."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    ValuesView,
)
from typing import Any, Protocol, TypeVar, cast, overload

from lyredb._engine import Scan
from lyredb.db.errors import ForkedError

K = TypeVar("K")
V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)
T = TypeVar("T")
R = TypeVar("R")
Mutable = TypeVar("Mutable", bound="MutableSortedMapping[Any, Any]")

_MISSING: Any = object()


class _SupportsKeysAndGetItem(Protocol[K, V_co]):
    def keys(self) -> Iterable[K]: ...
    def __getitem__(self, key: K, /) -> V_co: ...


class SortedKeys(KeysView[K]):
    """The keys, in order, as they are now."""

    _mapping: SortedMapping[K, Any]

    def __iter__(self) -> Iterator[K]:
        return iter(self._mapping)

    def __reversed__(self) -> Iterator[K]:
        return self._mapping.scan(reverse=True).keys()


class SortedItems(ItemsView[K, V]):
    """The (key, value) pairs, in key order, as they are now."""

    _mapping: SortedMapping[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._mapping.scan()

    def __reversed__(self) -> Iterator[tuple[K, V]]:
        return self._mapping.scan(reverse=True)


class SortedValues(ValuesView[V]):
    """The values, in key order, as they are now."""

    _mapping: SortedMapping[Any, V]

    def __iter__(self) -> Iterator[V]:
        return self._mapping.scan().values()

    def __reversed__(self) -> Iterator[V]:
        return self._mapping.scan(reverse=True).values()

    def __contains__(self, value: object) -> bool:
        return any(value is other or value == other for other in self)


class SortedMapping(Mapping[K, V]):
    """The reading half. The native class before it in a class's bases has the rest: get, [], in, len, scan."""

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of the family."""

    def _shown_name(self) -> str:
        """For `repr`, which must not fail."""
        try:
            return repr(self.name)
        except ForkedError:
            return "of the parent process"

    @abstractmethod
    def scan(
        self,
        start: K | None = None,
        stop: K | None = None,
        *,
        prefix: Any = None,
        reverse: bool = False,
        limit: int | None = None,
        start_inclusive: bool = True,
        stop_inclusive: bool = False,
    ) -> Scan[tuple[K, V], K, V]:
        """The records from `start` up to `stop`; see the native method."""

    def keys(self) -> SortedKeys[K]:
        """A view of the keys."""
        return SortedKeys(self)

    def items(self) -> SortedItems[K, V]:
        """A view of the pairs."""
        return SortedItems(self)

    def values(self) -> SortedValues[V]:
        """A view of the values."""
        return SortedValues(self)

    def __reversed__(self) -> Iterator[K]:
        return self.scan(reverse=True).keys()

    def first(self) -> tuple[K, V] | None:
        """The pair with the lowest key, or None when there is none. O(log n)."""
        return next(self.scan(limit=1), None)

    def last(self) -> tuple[K, V] | None:
        """The pair with the highest key, or None when there is none. O(log n)."""
        return next(self.scan(reverse=True, limit=1), None)

    def peekitem(self, index: int = -1) -> tuple[K, V]:
        """The pair at a position; from the end when negative. O(log n + |index|), so for positions near an end.

        Raises:
            IndexError: There are not so many records.
        """
        steps = index if index >= 0 else -index - 1
        rows = self.scan(reverse=index < 0, limit=steps + 1)
        keys = rows.keys()
        last: Any = _MISSING
        seen = 0
        for key in keys:
            last = key
            seen += 1
        if seen <= steps:
            raise IndexError(f"there is no record at {index}: there are {seen}")
        for pair in self.scan(last, last, stop_inclusive=True):
            return pair
        raise IndexError(f"the record at {index} was deleted meanwhile")

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Mapping):
            return NotImplemented
        theirs = cast("Mapping[Any, Any]", other)
        seen = 0
        for key, value in self.scan():
            found = theirs.get(key, _MISSING)
            if found is _MISSING or found != value:
                return False
            seen += 1
        return seen == len(theirs)

    __hash__ = None  # pyright: ignore[reportAssignmentType]


class MutableSortedMapping(SortedMapping[K, V], MutableMapping[K, V]):
    """The writing half."""

    __slots__ = ()

    @abstractmethod
    def put(self, key: K, value: V, *, ttl: Any = None) -> None:
        """Stores a value; see the native method."""

    @abstractmethod
    def delete(self, key: K) -> bool:
        """Deletes a record and tells whether it was there; see the native method."""

    @abstractmethod
    def delete_range(self, start: K | None = None, stop: K | None = None) -> int:
        """Deletes the records from `start` up to `stop`; see the native method."""

    @abstractmethod
    def write_batch(self, items: Any, *, ttl: Any = None) -> None:
        """Stores many records; see `Family.write_batch`."""

    def _atomically(self, work: Callable[[MutableSortedMapping[K, V]], R]) -> R:
        """Runs what reads first and writes then, so that nobody else writes in between."""
        return work(self)

    def clear(self) -> None:
        """Deletes all records, atomically."""
        self.delete_range()

    @overload
    def pop(self, key: K) -> V: ...
    @overload
    def pop(self, key: K, default: V) -> V: ...
    @overload
    def pop(self, key: K, default: T) -> V | T: ...
    def pop(self, key: K, default: Any = _MISSING) -> Any:
        """Deletes a record and returns its value, or `default` when it is not there.

        Raises:
            KeyError: It is not there, and no default was given.
        """
        value = self._atomically(lambda records: _take(records, key))
        if value is not _MISSING:
            return value
        if default is _MISSING:
            raise KeyError(key)
        return default

    def popitem(self, *, index: int = -1) -> tuple[K, V]:
        """Deletes a record, the last by default, and returns it. O(log n + |index|).

        Raises:
            KeyError: There is no record at `index`.
        """
        return self._atomically(lambda records: _take_at(records, index))

    @overload
    def setdefault(self: MutableSortedMapping[K, T | None], key: K, default: None = None, /) -> T | None: ...
    @overload
    def setdefault(self, key: K, default: V, /) -> V: ...
    def setdefault(self, key: K, default: Any = None, /) -> Any:
        """The value of a key, which is stored as `default` first if it is not there."""
        value = self.get(key, _MISSING)
        if value is not _MISSING:
            return value
        return self._atomically(lambda records: _store_if_absent(records, key, default))

    def update(self, other: Any = (), /, **named: V) -> None:
        """Stores the pairs of a mapping or an iterable, all of them or none."""
        if hasattr(other, "keys") and not isinstance(other, Mapping):
            keyed = cast("_SupportsKeysAndGetItem[K, V]", other)
            other = [(key, keyed[key]) for key in keyed.keys()]
        if named:
            other = [*(other.items() if isinstance(other, Mapping) else other), *named.items()]
        self.write_batch(other)

    def __ior__(self: Mutable, other: Any) -> Mutable:
        """`db |= other`, as with a dict: `update`."""
        self.update(other)
        return self


def _take(records: MutableSortedMapping[K, V], key: K) -> V:
    """Deletes a record and returns its value, or `_MISSING`."""
    value = records.get(key, _MISSING)
    if value is not _MISSING:
        records.delete(key)
    return value


def _take_at(records: MutableSortedMapping[K, V], index: int) -> tuple[K, V]:
    try:
        pair = records.peekitem(index)
    except IndexError as error:
        raise KeyError(str(error)) from None
    records.delete(pair[0])
    return pair


def _store_if_absent(records: MutableSortedMapping[K, V], key: K, default: V) -> V:
    value = records.get(key, _MISSING)
    if value is not _MISSING:
        return value
    records.put(key, default)
    return default
