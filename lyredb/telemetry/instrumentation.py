"""That a database is observed, until it is closed or nobody wants it any more."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lyredb.db.errors import ForkedError

if TYPE_CHECKING:
    from lyredb.db.database import Database


class Instrumentation:
    """What `lyredb.telemetry.instrument` returns. `with` ends it, and so does closing the database.

    It keeps no database alive.
    """

    def __init__(self, database: Database[Any, Any]) -> None:
        self.namespace = database.path
        """The value of `db.namespace`: the database's folder."""
        self._database = weakref.ref(database)
        self._ends: list[Callable[[Instrumentation], None]] = []

    @property
    def database(self) -> Database[Any, Any] | None:
        """The database; None if the program has dropped it."""
        return self._database()

    def at_end(self, end: Callable[[Instrumentation], None]) -> None:
        """Has something called by `close`, each time."""
        self._ends.append(end)

    def close(self) -> None:
        """Makes spans of the last events, and shows nothing of this database from then on. May be called again."""
        try:
            _ = self.database is None or self.database.closed
        except ForkedError:
            # Nothing is shown in a forked child, and threads that are not there may hold the locks.
            return
        for end in self._ends:
            end(self)

    uninstrument = close

    def __enter__(self) -> Instrumentation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
