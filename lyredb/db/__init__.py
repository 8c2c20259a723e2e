"""Databases, families, transactions, snapshots, codecs and errors; import them from `lyredb`."""

from lyredb.db.codecs import Codec
from lyredb.db.damage import CheckReport, Problem, SalvagedFamily, SalvageReport, salvage
from lyredb.db.database import Database, open
from lyredb.db.errors import (
    ClosedError,
    CodecError,
    ConfigError,
    ConflictError,
    CorruptionError,
    Error,
    FamilyExistsError,
    FamilyNotFoundError,
    ForkedError,
    InterruptedOperationError,
    KeyTooLargeError,
    LockedError,
    NewerFormatError,
    NotADatabaseError,
    PoisonedError,
    ReadOnlyError,
    SavepointError,
    TransactionEndedError,
    TransactionTimeoutError,
    ValueTooLargeError,
)
from lyredb.db.family import Family
from lyredb.db.snapshot import Snapshot, SnapshotFamily
from lyredb.db.stats import Bucket, Histogram, Stats
from lyredb.db.transaction import Savepoint, Transaction, TransactionFamily

__all__ = [
    "Bucket",
    "CheckReport",
    "ClosedError",
    "Codec",
    "CodecError",
    "ConfigError",
    "ConflictError",
    "CorruptionError",
    "Database",
    "Error",
    "Family",
    "FamilyExistsError",
    "FamilyNotFoundError",
    "ForkedError",
    "Histogram",
    "InterruptedOperationError",
    "KeyTooLargeError",
    "LockedError",
    "NewerFormatError",
    "NotADatabaseError",
    "PoisonedError",
    "Problem",
    "ReadOnlyError",
    "SalvageReport",
    "SalvagedFamily",
    "Savepoint",
    "SavepointError",
    "Snapshot",
    "SnapshotFamily",
    "Stats",
    "Transaction",
    "TransactionEndedError",
    "TransactionFamily",
    "TransactionTimeoutError",
    "ValueTooLargeError",
    "open",
    "salvage",
]
