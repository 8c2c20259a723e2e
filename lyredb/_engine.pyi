"""The native module. Its families, snapshots and transactions are the bases of the classes in `lyredb`."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Generic, Literal, NoReturn, TypeAlias, TypedDict, TypeVar, final, overload

import numpy
import pyarrow
from typing_extensions import Buffer, Self, disjoint_base

__all__ = [
    "DEFAULT_FAMILY",
    "MAX_KEY_BYTES",
    "MAX_VALUE_BYTES",
    "Codec",
    "Column",
    "Engine",
    "Family",
    "MissRatioCurve",
    "NativeBuffer",
    "Scan",
    "Snapshot",
    "SnapshotFamily",
    "Transaction",
    "TransactionFamily",
    "__version__",
    "salvage",
    "simulate_cache",
    "tunables",
]

MAX_KEY_BYTES: Final[int]
MAX_VALUE_BYTES: Final[int]
DEFAULT_FAMILY: Final[str]
__version__: Final[str]

_K = TypeVar("_K")
_V = TypeVar("_V")
_T = TypeVar("_T")
_Row = TypeVar("_Row")
_Seconds: TypeAlias = float | timedelta
_Setting: TypeAlias = int | str
_Figure: TypeAlias = int | float | str

class _Tunable(TypedDict):
    name: str
    scope: str
    type: str
    low: int | None
    high: int | None
    choices: list[str] | None
    default: _Setting
    unit: str
    description: str
    change: str
    tuner: bool

# The unit, the sum of all values, and of each bucket its lowest value, its highest and how many.
_Distribution: TypeAlias = tuple[Literal["seconds", "rows"], float, list[tuple[float, float, int]]]
# Figures, and how often which values occurred.
_Curve: TypeAlias = list[tuple[int, float]]
_Told: TypeAlias = tuple[dict[str, _Figure], dict[str, _Distribution]]

class _Problem(TypedDict):
    path: str
    offset: int | None
    family: str | None
    what: str
    start: bytes | None
    stop: bytes | None

class _SalvagedFamily(TypedDict):
    name: str
    records: int
    lost_records: int
    apart: bool

class _SalvageReport(TypedDict):
    families: list[_SalvagedFamily]
    ok: bool
    problems: list[_Problem]
    lost_versions: list[tuple[int, int | None]]
    lost_values: list[tuple[str, bytes]]
    unplaced_records: int

class _CheckReport(TypedDict):
    families: int
    pages: int
    records: int
    bytes: int
    problems: list[_Problem]

def salvage(path: str, destination: str, all: bool, progress: Callable[[int, int], object] | None) -> _SalvageReport:
    """Saves what can be read of a damaged database into a new one."""

def tunables() -> list[_Tunable]:
    """The registry of tunables; `change` is what a change costs: "instant" or "rewrite"."""

@final
class Codec:
    """A codec: `encode` makes bytes of an object, `decode` the object of the bytes."""

    def __new__(cls, name: str) -> Self: ...
    @staticmethod
    def of(name: str, encode: Callable[[Any], Any], decode: Callable[[Any], Any], *, text: bool = False) -> Codec: ...
    @property
    def name(self) -> str: ...
    def encode(self, value: Any) -> bytes: ...
    def decode(self, data: Buffer) -> Any: ...

@final
class NativeBuffer:
    """Read-only memory of the engine, for `memoryview`, `pyarrow.py_buffer` and `numpy.frombuffer`."""

    def __len__(self) -> int: ...
    if sys.version_info >= (3, 12):
        def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Column:
    """A column to write, as the memory of an Arrow or numpy array."""

    @staticmethod
    def fixed(data: Buffer, width: int, first: int, length: int, *, trim: bool = False) -> Column: ...
    @staticmethod
    def variable(
        data: Buffer, offsets: Buffer, offset_bytes: int, first: int, length: int, *, text: bool
    ) -> Column: ...
    @staticmethod
    def integers(data: Buffer, first: int, length: int) -> Column: ...
    def __len__(self) -> int: ...

_ColumnBuffers: TypeAlias = tuple[NativeBuffer, ...]

@final
class Scan(Generic[_Row, _K, _V]):
    """A walk over a range of records, in key order or against it; an iterator.

    A scan of a database or family sees what was there when it was made; one of a transaction, what was there when its
    first row was asked for. Threads may share one: each row goes to one of them.
    """

    def __iter__(self) -> Self: ...
    def __next__(self) -> _Row: ...
    def __getitem__(self, key: _K | Buffer, /) -> _V:
        """The value of a key of the range; with `keys()` it makes `dict(scan)` work. KeyError outside the range."""
    def keys(self) -> Scan[_K, _K, _V]:
        """The keys of the same range, from its beginning; values are not read."""
    def values(self) -> Scan[_V, _K, _V]:
        """The values of the same range, from its beginning."""
    def items(self) -> Scan[tuple[_K, _V], _K, _V]:
        """The pairs of the same range, from its beginning."""
    def count(self) -> int:
        """How many rows the whole scan has, wherever it is now."""
    def seek(self, key: _K | Buffer) -> Self:
        """Goes on from `key` (or, if it is not there, the next one in the scan's direction), forwards or backwards."""
    def to_arrow(self) -> pyarrow.Table:
        """The rows not yet iterated over as a table with the columns "key" and "value" (those the scan has).

        Codec "str" and "json" give string columns, "int" int64, others binary: the bytes as stored.
        Raises OverflowError when an int needs more than 64 bits.
        """
    def to_numpy(self) -> tuple[numpy.ndarray[Any, Any], numpy.ndarray[Any, Any]] | numpy.ndarray[Any, Any]:
        """The rows not yet iterated over as arrays: (keys, values), or one array for a scan of one of them.

        Codec "int" gives int64; "bytes" of one width w a `V{w}` array (`.view("S16")`, `.view("<f8")` read it as what
        it is); all else an array of objects. Raises OverflowError when an int needs more than 64 bits.
        """
    def batches(self, rows: int = 65_536) -> Iterator[pyarrow.RecordBatch]:
        """The same as `to_arrow`, in record batches of up to `rows` rows and some 64 MiB, as they are asked for."""
    def fetch_columns(self, rows: int) -> tuple[int, _ColumnBuffers | None, _ColumnBuffers | None] | None: ...
    @property
    def columns(self) -> str:
        """What a row is: "items", "keys" or "values"."""
    @property
    def codec_names(self) -> tuple[str, str]:
        """The names of the codecs of keys and of values."""
    @classmethod
    def __class_getitem__(cls, key: Any) -> Any: ...
    def __reduce__(self) -> NoReturn: ...

@final
class Engine:
    def __new__(
        cls,
        path: str | os.PathLike[str],
        *,
        durability: str,
        read_only: bool,
        create: bool,
        settings: Mapping[str, _Setting],
    ) -> Self: ...
    @property
    def path(self) -> Path: ...
    @property
    def closed(self) -> bool: ...
    @property
    def read_only(self) -> bool: ...
    @property
    def durability(self) -> str: ...
    def families(self) -> list[str]: ...
    def has_family(self, name: str) -> bool: ...
    def create_family(self, name: str, settings: Mapping[str, _Setting]) -> None: ...
    def drop_family(self, name: str) -> None: ...
    def rename_family(self, old: str, new: str) -> None: ...
    def note(self, family: str) -> str | None: ...
    def set_note(self, family: str, note: str | None) -> None: ...
    def configure(self, family: str | None, settings: Mapping[str, _Setting]) -> None: ...
    def reset(self, family: str | None, names: list[str]) -> None: ...
    def tune(self, family: str | None, settings: Mapping[str, _Setting]) -> None:
        """Makes what automatic tuning has set, for a family or for the database, exactly this: until it is closed.

        What a user set goes before it, and what was tuned for a family before what was for the database. Raises
        ConfigError, and changes nothing, for settings that presets may not set either, and FamilyNotFoundError.
        """
    def reshape(self, family: str, progress: Callable[[int, int], object] | None) -> int: ...
    def settings(self, family: str | None) -> list[tuple[str, _Setting, bool]]: ...
    def snapshot(self) -> Snapshot: ...
    def begin(self, serializable: bool, timeout: _Seconds | None) -> Transaction: ...
    def sync(self) -> None: ...
    def checkpoint(self) -> None: ...
    def pin(self, family: str, key: Codec, prefix: object) -> int: ...
    def unpin(self, family: str, key: Codec, prefix: object) -> bool: ...
    def plan_tiers(self, stored_permille: int, excerpts_permille: int) -> None: ...
    def access_curves(self, keep: float) -> list[tuple[str, _Curve, _Curve, int, int]]: ...
    def compact(self, progress: Callable[[int, int], object] | None) -> None: ...
    def backup(self, destination: str | os.PathLike[str], progress: Callable[[int, int], object] | None) -> None: ...
    def check(self, progress: Callable[[int, int], object] | None) -> _CheckReport: ...
    def stats(self) -> tuple[_Told, dict[str, _Told]]: ...
    def sense(self, go_on: bool = True) -> dict[str, dict[str, float]]:
        """By family: counters since the opening, and what a sketch says of the accesses since the last call.

        The sketch is made from a call with `go_on` to one without. Its figures are those from "sampled" on, of a sample
        of the point accesses; `lyredb.autotune.features` says what they mean. Between two calls a thread keeps 4,096.
        """
    def timings(self) -> dict[str, dict[str, tuple[int, list[tuple[int, int, int]]]]]:
        """By family and kind of operation: (sum in ns, [(low, high, count), ...]) of samples since the opening.

        The kinds are those of `Database.stats` that are in seconds: "scan" is whole scans, "scan_row" the same by row.
        It waits for nothing, where `stats` waits for a running checkpoint.
        """
    def take_events(self) -> list[tuple[str, str | None, int, int, dict[str, int]]]:
        """What happened since the last call: (kind, family, Unix time of its beginning in ns, how long in ns, numbers).

        Kinds: "checkpoint", always; "transaction", "get", "multi_get", "put", "delete", "batch" and "scan_fetch", if
        they took long; "lost", first of all, when more happened than the 1,024 newest, which are kept.
        """
    def set_slow(self, seconds: _Seconds) -> None:
        """From how long on operations and transactions are events; 0.1 s unless it is set."""
    def close(self) -> None: ...
    def __reduce__(self) -> NoReturn: ...

@final
class Snapshot:
    @property
    def version(self) -> int: ...
    @property
    def closed(self) -> bool: ...
    def close(self) -> None: ...
    def __reduce__(self) -> NoReturn: ...

@final
class Transaction:
    @property
    def active(self) -> bool: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def savepoint(self) -> int: ...
    def rollback_to(self, savepoint: int) -> None: ...
    def release(self, savepoint: int) -> None: ...
    def __reduce__(self) -> NoReturn: ...

# The two halves that the classes below have in common. At run time each class has these methods itself.

class _View(Generic[_K, _V]):
    @property
    def name(self) -> str:
        """The name of the family."""
    @property
    def key_codec(self) -> Codec:
        """How keys become bytes."""
    @property
    def value_codec(self) -> Codec:
        """How values become bytes."""
    @overload
    def get(self, key: _K | Buffer, default: None = None) -> _V | None:
        """The value of a key, or `default` when there is none."""
    @overload
    def get(self, key: _K | Buffer, default: _V) -> _V: ...
    @overload
    def get(self, key: _K | Buffer, default: _T) -> _V | _T: ...
    def __getitem__(self, key: _K | Buffer, /) -> _V: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __len__(self) -> int:
        """How many records there are. It counts them: O(n)."""
    def __bool__(self) -> bool:
        """Whether there are any. O(log n)."""
    def __iter__(self) -> Scan[_K, _K, _V]: ...
    def scan(
        self,
        start: _K | Buffer | None = None,
        stop: _K | Buffer | None = None,
        *,
        prefix: _K | Buffer | None = None,
        reverse: bool = False,
        limit: int | None = None,
        start_inclusive: bool = True,
        stop_inclusive: bool = False,
    ) -> Scan[tuple[_K, _V], _K, _V]:
        """The records whose keys lie from `start` up to `stop`.

        Args:
            start: The lowest key, whatever the direction; None: no bound.
            stop: The highest key, whatever the direction; None: no bound.
            prefix: What the keys begin with: bytes, a str, or for tuple keys their first elements.
            reverse: From the highest key to the lowest.
            limit: At most so many rows.
            start_inclusive: Whether `start` itself is in the range.
            stop_inclusive: Whether `stop` itself is in the range.
        """
    def multi_get(self, keys: Iterable[_K | Buffer], default: Any = None) -> list[Any]:
        """The values of many keys, in their order; `default` for those that are absent."""
    @classmethod
    def __class_getitem__(cls, key: Any) -> Any: ...
    def __reduce__(self) -> NoReturn: ...

class _WritableView(_View[_K, _V]):
    def put(self, key: _K | Buffer, value: _V | Buffer, *, ttl: _Seconds | None = None) -> None:
        """Stores a value; `ttl`: seconds, or a timedelta, after which the record expires.

        Raises TypeError, KeyTooLargeError, ValueTooLargeError, ReadOnlyError, ClosedError; OSError if the disk is full.
        """
    def delete(self, key: _K | Buffer) -> bool:
        """Deletes a record; tells whether it was there."""
    def __setitem__(self, key: _K | Buffer, value: _V | Buffer, /) -> None: ...
    def __delitem__(self, key: _K | Buffer, /) -> None: ...
    def delete_range(self, start: _K | Buffer | None = None, stop: _K | Buffer | None = None) -> int:
        """Deletes the records from `start` up to, and without, `stop`, atomically; tells how many there were."""
    def write_pairs(self, items: Any, *, ttl: _Seconds | None = None) -> None:
        """What `write_batch` does with records that are Python objects."""
    def write_columns(self, keys: Column, values: Column, *, ttl: _Seconds | None = None) -> None:
        """What `write_batch` does with columns."""

@disjoint_base
class Family(_WritableView[_K, _V]):
    """An ordered map of the database, at its newest."""

    def __new__(cls, engine: Engine, name: str, key: Codec, value: Codec) -> Self: ...
    def time_to_live(self, key: _K | Buffer) -> float | None:
        """Seconds until a record expires; inf when it never does, None when there is no such record."""

@disjoint_base
class SnapshotFamily(_View[_K, _V]):
    """A family as it was when the snapshot was taken."""

    def __new__(cls, snapshot: Snapshot, family: Family[_K, _V]) -> Self: ...

@disjoint_base
class TransactionFamily(_WritableView[_K, _V]):
    """A family as a transaction sees it."""

    def __new__(cls, transaction: Transaction, family: Family[_K, _V]) -> Self: ...

@final
class MissRatioCurve:
    def __new__(cls, *, most_samples: int, rate: float) -> Self: ...
    def access(self, identities: Buffer, sizes: Buffer | None = None) -> None: ...
    def decay(self, factor: float) -> None: ...
    def miss_ratio(self, bytes: int) -> float: ...
    def points(self) -> list[tuple[int, float]]: ...
    @property
    def rate(self) -> float: ...
    @property
    def samples(self) -> int: ...
    @property
    def accesses(self) -> float: ...

def simulate_cache(identities: Buffer, capacity: int, policy: str, sizes: Buffer | None = None) -> int: ...
