"""Transactions: changes that become visible together, or not at all."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from lyredb import _engine
from lyredb.db import columns
from lyredb.db.errors import ForkedError
from lyredb.db.mapping import MutableSortedMapping

if TYPE_CHECKING:
    from lyredb.db.database import Database
    from lyredb.db.family import Family

K = TypeVar("K")
V = TypeVar("V")


class TransactionFamily(_engine.TransactionFamily[K, V], MutableSortedMapping[K, V]):
    """A family as a transaction sees it: as it was at its beginning, with the transaction's own changes."""

    __slots__ = ("__weakref__",)

    def write_batch(self, items: Any, *, ttl: Any = None) -> None:
        """Stores many records, or none of them; takes what `Family.write_batch` takes."""
        columns.write(self, items, ttl)

    def __repr__(self) -> str:
        return f"<lyredb.{type(self).__name__} {self._shown_name()}>"


class Savepoint:
    """A point within a transaction to go back to. As a context manager it goes back on an exception."""

    __slots__ = ("_id", "_native")

    def __init__(self, native: _engine.Transaction) -> None:
        self._native = native
        self._id = native.savepoint()

    def rollback(self) -> None:
        """Undoes what the transaction did since. The savepoint may be used again, later ones may not.

        Raises:
            SavepointError: It was released, or rolled back past.
        """
        self._native.rollback_to(self._id)

    def release(self) -> None:
        """Forgets the savepoint and those after it, and keeps the changes.

        Raises:
            SavepointError: It was released before, or rolled back past.
        """
        self._native.release(self._id)

    def __repr__(self) -> str:
        return f"<lyredb.Savepoint {self._id}>"

    def __enter__(self) -> Savepoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._native.active:
                return
            if kind is not None:
                self.rollback()
            self.release()
        except ForkedError:
            if kind is None:
                raise


class Transaction(TransactionFamily[K, V]):
    """Changes that become visible together; itself the mapping of the default family.

    With `with`, it is committed at the end of the block, and rolled back if an exception leaves it. Without, call
    `commit()` or `rollback()`; one that is dropped is rolled back. Scans see the changes made before their first row.
    """

    __slots__ = ("_database", "_decided", "_native")

    _database: Database[Any, Any]
    _native: _engine.Transaction
    _decided: bool

    def __new__(cls, database: Database[K, V], native: _engine.Transaction) -> Transaction[K, V]:
        self = super().__new__(cls, native, database)
        self._database = database
        self._native = native
        self._decided = False
        return self

    def family(self, name: str) -> TransactionFamily[Any, Any]:
        """A family as this transaction sees it.

        Raises:
            FamilyNotFoundError: There is no such family.
        """
        return self.bind(self._database.existing_family(name))

    def bind(self, family: Family[K, V]) -> TransactionFamily[K, V]:
        """The same family, as this transaction sees it."""
        return TransactionFamily(self._native, family)

    @property
    def active(self) -> bool:
        """Whether it is neither committed nor rolled back."""
        return self._native.active

    def commit(self) -> None:
        """Makes the changes visible to all, and durable as the database's durability says.

        Raises:
            ConflictError: Another transaction changed the same records (or, if serializable, what this one read).
            TransactionTimeoutError: Its time was up.
            TransactionEndedError: It was committed or rolled back before.
        """
        self._decided = True
        self._native.commit()

    def rollback(self) -> None:
        """Drops the changes.

        Raises:
            TransactionEndedError: It was committed or rolled back before.
        """
        self._decided = True
        self._native.rollback()

    def savepoint(self) -> Savepoint:
        """A point to go back to with its `rollback()`."""
        return Savepoint(self._native)

    def __repr__(self) -> str:
        try:
            state = "active" if self.active else "ended"
        except ForkedError:
            state = "of the parent process"
        return f"<lyredb.Transaction of {self._database.path!r}, {state}>"

    def __enter__(self) -> Transaction[K, V]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Whoever ended it inside the block has decided. One whose time was up raises here too.
        if self._decided:
            return
        if kind is None:
            self.commit()
            return
        try:
            if self._native.active:
                self.rollback()
        except ForkedError:
            return  # A child that leaves its parent's block: what it leaves with says more.
