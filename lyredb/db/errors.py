"""What can go wrong, and what to do about it.

Python's own exceptions are used where Python programmers expect them: `TypeError` for a key or value of the wrong type,
`KeyError` from `db[key]`, and `OSError` with `errno` and `filename` (so `FileNotFoundError`, `PermissionError`, ...)
for what the operating system refuses. All else is below `Error`.
"""

from __future__ import annotations

from typing import ClassVar


class Error(Exception):
    """Above all errors that are LyreDB's own.

    Attributes:
        path: The file or folder concerned, if it is about one.
        offset: The byte in that file, if it is about one.
        suggestion: What to do about it.
    """

    default_suggestion: ClassVar[str | None] = None

    path: str | None
    offset: int | None
    suggestion: str | None

    def __init__(
        self,
        message: str = "",
        *,
        path: str | None = None,
        offset: int | None = None,
        suggestion: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.offset = offset
        self.suggestion = self.default_suggestion if suggestion is None else suggestion

    def __str__(self) -> str:
        return f"{self.message}; {self.suggestion}" if self.suggestion else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # A process pool sends exceptions home pickled: keep the attributes.
        return (type(self), (self.message,), self.__dict__)


class ConflictError(Error):
    """Another transaction committed a change to what this one read or wrote. Nothing was written."""

    default_suggestion = "run the transaction again, or let db.retry(fn) do so"


class CorruptionError(Error):
    """Bytes on disk are not what was written there."""

    default_suggestion = "restore a backup, or save what can be read with lyredb.salvage(path, destination)"


class NotADatabaseError(Error):
    """The path holds something, but no LyreDB database. It was left as it is."""

    default_suggestion = "give the path of a database, or of a folder that is empty or does not exist"


class NewerFormatError(Error):
    """The database was written by a newer LyreDB. It was left as it is."""

    default_suggestion = "upgrade lyredb"


class LockedError(Error):
    """The database is open already, in another process or in this one."""

    default_suggestion = "close it there first; within a process, share one Database between threads"


class ReadOnlyError(Error):
    """A write to a database that was opened with read_only=True."""

    default_suggestion = "open it without read_only"


class ClosedError(Error):
    """The database, snapshot or scan is closed."""

    default_suggestion = "open it again"


class ForkedError(ClosedError):
    """The database was opened by the process this one was forked from."""

    default_suggestion = "open it in the child, after the parent has closed it; or use multiprocessing's spawn"


class ConfigError(Error, ValueError):
    """A setting, codec or preset is unknown, or not one that can be used so. Nothing was changed."""


class KeyTooLargeError(Error, ValueError):
    """The key's bytes are more than `lyredb.MAX_KEY_BYTES`. Nothing was written."""

    default_suggestion = "use a digest of it as the key"


class ValueTooLargeError(Error, ValueError):
    """The value's bytes are more than `lyredb.MAX_VALUE_BYTES`. Nothing was written."""

    default_suggestion = "split it over several keys"


class CodecError(Error, ValueError):
    """The stored bytes are not what the family's codec writes."""

    default_suggestion = "open the family with the codec it was written with"


class TransactionTimeoutError(Error, TimeoutError):
    """The transaction was open for longer than its timeout and was rolled back."""

    default_suggestion = "run it again, with a longer timeout if it needs one"


class TransactionEndedError(Error):
    """The transaction was committed or rolled back before."""

    default_suggestion = "begin a new one"


class SavepointError(Error, ValueError):
    """The savepoint was released, or rolled back past."""


class PoisonedError(Error):
    """An earlier write could not be brought to the disk, so that nobody knows what is on it."""

    default_suggestion = "see to the disk, then close the database and open it again"


class FamilyNotFoundError(Error, KeyError):
    """There is no family of this name."""

    default_suggestion = "db.families() lists the names, db.family(name) makes one"


class FamilyExistsError(Error, ValueError):
    """There is a family of this name already."""

    default_suggestion = "choose another name, or drop that family first"


class InterruptedOperationError(Error):
    """A long operation was stopped. The database is as it was before."""
