"""That a database is observed, until it is closed or nobody wants it any more."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lyredb.db.database import Database


class Instrumentation:
    """What `lyredb.telemetry.instrument` returns. `with` ends it, and so does closing the database.

    It keeps no database alive.
    """

    def __init__(self, database: Database[Any, Any], end: Callable[[Instrumentation], None]) -> None:
        self.namespace = database.path
        """The value of `db.namespace`: the database's folder."""
        self._database = weakref.ref(database)
        self._end = end

    @property
    def database(self) -> Database[Any, Any] | None:
        """The database; None if the program has dropped it."""
        return self._database()

    def close(self) -> None:
        """Shows nothing of this database from the next collection on. May be called again."""
        self._end(self)

    uninstrument = close

    def __enter__(self) -> Instrumentation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
