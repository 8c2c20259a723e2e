"""Snapshots: the database as it was at one moment."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from lyredb import _engine
from lyredb.db.errors import Error, ForkedError
from lyredb.db.mapping import SortedMapping

if TYPE_CHECKING:
    from lyredb.db.database import Database
    from lyredb.db.family import Family

K = TypeVar("K")
V = TypeVar("V")


class SnapshotFamily(_engine.SnapshotFamily[K, V], SortedMapping[K, V]):
    """A family as it was when the snapshot was taken; a read-only mapping."""

    __slots__ = ("__weakref__",)

    def __repr__(self) -> str:
        return f"<lyredb.{type(self).__name__} {self._shown_name()}>"


class Snapshot(SnapshotFamily[K, V]):
    """The database as it was at one moment; itself the mapping of the default family.

    Close it when done (`with` does): the versions of records that it sees are kept for it until then.
    """

    __slots__ = ("_database", "_native")

    _database: Database[Any, Any]
    _native: _engine.Snapshot

    def __new__(cls, database: Database[K, V], native: _engine.Snapshot) -> Snapshot[K, V]:
        self = super().__new__(cls, native, database)
        self._database = database
        self._native = native
        return self

    def family(self, name: str) -> SnapshotFamily[Any, Any]:
        """A family as it was.

        Raises:
            FamilyNotFoundError: There is no such family.
        """
        return self.bind(self._database.existing_family(name))

    def bind(self, family: Family[K, V]) -> SnapshotFamily[K, V]:
        """The same family, as this snapshot sees it."""
        return SnapshotFamily(self._native, family)

    @property
    def version(self) -> int:
        """The number of the last commit that the snapshot sees."""
        return self._native.version

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._native.closed

    def close(self) -> None:
        """Lets go of it. Scans begun before go on; other use raises ClosedError. May be called again."""
        self._native.close()

    def __repr__(self) -> str:
        try:
            state = "closed" if self.closed else f"version {self.version}"
        except Error as error:
            state = type(error).__name__
        return f"<lyredb.Snapshot of {self._database.path!r}, {state}>"

    def __enter__(self) -> Snapshot[K, V]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except ForkedError:
            if kind is None:
                raise
