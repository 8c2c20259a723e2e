"""A thread that notices when a database's memory becomes short, and then lets `lyredb.tiering` plan.

Until then that package is not even imported.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from lyredb.db.errors import ClosedError

if TYPE_CHECKING:
    from lyredb.db.database import Database

_SECONDS = 2.0
# Above 1, as the engine makes room down to 31/32 of the budget.
_SCARCE_FROM = 15 / 16


class Watch:
    """The thread of one database. It has no lasting reference to it, and ends with it."""

    def __init__(self, database: Database[Any, Any]) -> None:
        ended = self._ended = threading.Event()
        reference = weakref.ref(database, lambda _: ended.set())
        self._thread = threading.Thread(target=_watch, args=(reference, ended), name="lyredb-tiering", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when the thread does nothing more."""
        self._ended.set()
        if self._thread is not threading.current_thread():
            self._thread.join()


def _watch(reference: weakref.ref[Database[Any, Any]], ended: threading.Event) -> None:
    pause = _SECONDS
    while not ended.wait(pause):
        database = reference()
        if database is None:
            return
        try:
            pause = _look(database)
        except ClosedError:
            return
        # Not for the length of the pause: whoever drops a database closes it.
        del database


def _look(database: Database[Any, Any]) -> float:
    figures = database.stats().database
    used, budget = figures["memory_used"], figures["memory_budget"]
    if isinstance(used, str) or isinstance(budget, str) or used < budget * _SCARCE_FROM:
        return _SECONDS
    return database.tiering.tend()
