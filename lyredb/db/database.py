"""A database: a folder of families."""

from __future__ import annotations

import atexit
import importlib
import json
import os
import random
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Literal, NoReturn, ParamSpec, TypeAlias, TypeVar, cast, overload

from lyredb import _engine
from lyredb.db import codecs, settings
from lyredb.db.damage import CheckReport, Problem
from lyredb.db.errors import ConfigError, ConflictError, Error, FamilyExistsError, FamilyNotFoundError, ForkedError
from lyredb.db.family import Family
from lyredb.db.progress import Progress, reporting
from lyredb.db.snapshot import Snapshot
from lyredb.db.stats import Stats, read_stats
from lyredb.db.transaction import Transaction
from lyredb.db.watch import Watch

if TYPE_CHECKING:
    from lyredb.autotune.tuner import Tuner
    from lyredb.tiering.manager import Tiering

K = TypeVar("K")
V = TypeVar("V")
R = TypeVar("R")
P = ParamSpec("P")

Durability: TypeAlias = Literal["sync", "group", "async"]
PathLike: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"

_FIRST_PAUSE_SECONDS = 0.0005
_LONGEST_PAUSE_SECONDS = 0.1

# Of `open`, beside tunables.
_ARGUMENTS = ("preset", "durability", "memory_bytes", "read_only", "create", "tiering", "autotune", "key", "value")


class Database(Family[K, V]):
    """An open database; itself the mapping of its default family. Made by `lyredb.open`.

    Any number of threads may use it. `with` closes it; so does the end of the program.
    """

    __slots__ = ("_engine", "_families", "_lock", "_tiering", "_tuner", "_watch")

    _engine: _engine.Engine
    _families: dict[str, Family[Any, Any]]
    _lock: threading.RLock
    _tiering: Tiering | None
    _tuner: Tuner | None
    _watch: Watch | None

    def __new__(cls, engine: _engine.Engine, key: _engine.Codec, value: _engine.Codec) -> Database[K, V]:
        self = super().__new__(cls, engine, _engine.DEFAULT_FAMILY, key, value)
        self._engine = engine
        self._database = self
        self._families = {}
        self._lock = threading.RLock()
        self._tiering = self._tuner = self._watch = None
        return self

    # --- families

    def family(
        self,
        name: str,
        *,
        preset: str | None = None,
        key: codecs.CodecLike | None = None,
        value: codecs.CodecLike | None = None,
        **tunables: settings.Value,
    ) -> Family[Any, Any]:
        """The family of this name, which is made if there is none.

        Args:
            name: Any text.
            preset: Settings for a kind of workload, from `lyredb.presets`; `tunables` go before it.
            key: How keys are encoded: "bytes" (the default), "str", "int", "tuple", or an ordered `lyredb.Codec`. The
                database remembers the names of a family's codecs.
            value: How values are encoded: those, "json" or "msgpack", or any `lyredb.Codec`.
            **tunables: Settings of the family; `lyredb tunables` lists them.

        Raises:
            ConfigError: A codec is another one than the family was made with, or a setting or preset is not known.
            ReadOnlyError: The database is open for reading only, and there is no such family.
        """
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a family's name must be a str, not {type(name).__qualname__}")
        settings.check_names(tunables, scope="family", arguments=("preset", "key", "value"))
        chosen = {**(settings.of_preset(preset, family_only=True) if preset else {}), **tunables}
        if name == _engine.DEFAULT_FAMILY and key is None and value is None:
            if chosen:
                self._engine.configure(name, chosen)
            return cast("Family[Any, Any]", self)
        with self._own_lock():
            cached = self._families.get(name)
            if cached is not None and _is(cached.key_codec, key) and _is(cached.value_codec, value):
                if chosen:
                    self._engine.configure(name, chosen)
                return cached
            made = not self._engine.has_family(name)
            if made:
                # Refuses a codec that cannot be one before the family is made.
                pair = codecs.resolve(key or "bytes", role="key"), codecs.resolve(value or "bytes", role="value")
                self._create(name, chosen)
                _remember(self._engine, name, pair)
            else:
                pair = _agreed(self._engine, name, key, value)
                if chosen:
                    self._engine.configure(name, chosen)
            family = Family[Any, Any](self._engine, name, *pair)
            family._database = self  # pyright: ignore[reportPrivateUsage]
            self._families[name] = family
            return family

    def _own_lock(self) -> threading.RLock:
        # In a forked child, a thread that is not there may hold it: this raises ForkedError there.
        _ = self._engine.closed
        return self._lock

    def _create(self, name: str, chosen: dict[str, settings.Value]) -> None:
        try:
            self._engine.create_family(name, chosen)
        except FamilyExistsError:
            # Another thread's Database.family was first; its lock is ours, so this is another handle's doing.
            self._engine.configure(name, chosen)

    def existing_family(self, name: str) -> Family[Any, Any]:
        """The family of this name; unlike `family` it makes none.

        Raises:
            FamilyNotFoundError: There is no such family.
        """
        if name == _engine.DEFAULT_FAMILY:
            return cast("Family[Any, Any]", self)
        cached = self._families.get(name)
        if cached is not None:
            return cached
        if not self._engine.has_family(name):
            raise FamilyNotFoundError(f"there is no family {name!r}")
        return self.family(name)

    def families(self) -> list[str]:
        """The names of all families, in order, "default" among them."""
        return self._engine.families()

    def drop_family(self, name: str) -> None:
        """Deletes a family with all its records. Handles of it raise FamilyNotFoundError from then on.

        Raises:
            FamilyNotFoundError: There is no such family.
            ConfigError: It is the default family.
        """
        with self._own_lock():
            self._engine.drop_family(name)
            self._families.pop(name, None)
            if self._tiering is not None:
                self._tiering.family_dropped(name)

    def rename_family(self, old: str, new: str) -> None:
        """Gives a family another name. Handles of it stay good.

        Raises:
            FamilyNotFoundError: There is no family `old`.
            FamilyExistsError: There is a family `new` already.
            ConfigError: It is the default family.
        """
        with self._own_lock():
            self._engine.rename_family(old, new)
            family = self._families.pop(old, None)
            if family is not None:
                self._families[new] = family
            if self._tiering is not None:
                self._tiering.family_renamed(old, new)

    # --- transactions and snapshots

    def transaction(self, *, serializable: bool = False, timeout: float | timedelta | None = None) -> Transaction[K, V]:
        """Begins a transaction: it sees the database as it is now, and its own changes.

        Args:
            serializable: Also fail with ConflictError if another transaction changed what this one read.
            timeout: Seconds after which any use of it rolls it back and fails, scans that began before included. Even
                if it is never used again, it then gives up what it holds of the past.
        """
        return Transaction(self, self._engine.begin(serializable, timeout))

    def snapshot(self) -> Snapshot[K, V]:
        """The database as it is now, to read from for as long as it is open."""
        return Snapshot(self, self._engine.snapshot())

    def retry(
        self,
        function: Callable[Concatenate[Transaction[K, V], P], R],
        /,
        *args: Any,
        attempts: int = 10,
        serializable: bool = False,
        timeout: float | timedelta | None = None,
    ) -> R:
        """Runs `function(t, *args)` in a transaction and commits; after a conflict again, with growing random pauses.

        Args:
            function: May run several times, so it should change nothing but the database.
            *args: Handed on.
            attempts: How often it is tried at most.
            serializable: As for `transaction`.
            timeout: As for `transaction`, for each attempt.

        Returns:
            What `function` returned.

        Raises:
            ConflictError: From the last attempt.
        """
        if attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {attempts}")
        call = cast("Callable[..., R]", function)
        pause = _FIRST_PAUSE_SECONDS
        for attempt in range(attempts):
            try:
                with self.transaction(serializable=serializable, timeout=timeout) as transaction:
                    return call(transaction, *args)
            except ConflictError:
                if attempt == attempts - 1:
                    raise
            time.sleep(random.uniform(0.5, 1.0) * pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        raise AssertionError("unreachable: the last attempt returns or raises")

    # --- settings

    def configure(self, family: str | None = None, /, **tunables: settings.Value) -> None:
        """Changes settings, all of them or none; what is set here, automatic tuning leaves alone.

        They last, and go before what was given to `lyredb.open`.

        Args:
            family: Whose. None: of the database, and of all families, of now and of later, that set none themselves.
            **tunables: `lyredb tunables` lists them.

        Raises:
            ConfigError: A name or a value is not one of the registry's.
            FamilyNotFoundError: There is no such family.
        """
        settings.check_names(tunables, scope=None if family is None else "family")
        self._engine.configure(family, tunables)

    def reset(self, *names: str, family: str | None = None) -> None:
        """Takes back what `configure` set: what was given to `lyredb.open` holds again, or else the default.

        Args:
            *names: Of the settings.
            family: Whose; what holds for the database then holds for it. None: of the database, and of all families
                without a value of their own.

        Raises:
            ConfigError: A name is not one of the registry's.
            FamilyNotFoundError: There is no such family.
        """
        settings.check_names(names, scope=None if family is None else "family")
        self._engine.reset(family, list(names))

    def settings(self, family: str | None = None) -> dict[str, settings.Value]:
        """The settings of a family, or with None of the database, as they are now."""
        return {name: value for name, value, _ in self._engine.settings(family)}

    def pinned(self, family: str | None = None) -> list[str]:
        """The names of the settings that were set by hand."""
        return [name for name, _, pinned in self._engine.settings(family) if pinned]

    def apply_preset(self, name: str, family: str | None = None) -> None:
        """Changes settings to those of a preset, scaled to this machine.

        Args:
            name: One of `lyredb.presets`.
            family: Whose; None: the database's, and those of all families without a value of their own.

        Raises:
            ConfigError: There is no such preset.
            FamilyNotFoundError: There is no such family.
        """
        self._engine.configure(family, settings.of_preset(name, family_only=family is not None))

    # --- maintenance

    def sync(self) -> None:
        """Returns when all that was committed before is on the disk."""
        self._engine.sync()

    def checkpoint(self) -> None:
        """Writes what the log holds into the page file and cuts the log."""
        self._engine.checkpoint()

    def compact(self, *, progress: Progress = None) -> None:
        """Moves pages to the front of the file and gives the rest back to the system. Ctrl-C stops it safely.

        Args:
            progress: Called with (done, total) now and then; True shows a bar (needs rich).
        """
        with reporting(progress, "compact") as report:
            self._engine.compact(report)

    def reshape(self, family: str | None = None, *, progress: Progress = None) -> int:
        """Brings leaves to the size that `leaf_bytes` asks for, where it was changed after they were filled.

        Beside readers and writers. Without it leaves follow as they are written to. Ctrl-C stops it safely: what is
        done stays.

        Args:
            family: Whose; None: of all families.
            progress: Called with (done, total) leaves of a family now and then; True shows a bar (needs rich).

        Returns:
            How many leaves were built.

        Raises:
            FamilyNotFoundError: There is no such family.
            ReadOnlyError: The database is open for reading only.
        """
        with reporting(progress, "reshape") as report:
            names = self.families() if family is None else [family]
            return sum(self._engine.reshape(name, report) for name in names)

    def backup(self, destination: PathLike, *, progress: Progress = None) -> None:
        """Writes a consistent copy into a new folder, while others read and write.

        Raises:
            NotADatabaseError: `destination` is neither new nor empty.
        """
        with reporting(progress, "backup") as report:
            self._engine.backup(os.fsdecode(destination), report)

    def check(self, *, progress: Progress = None) -> CheckReport:
        """Reads everything and tests every invariant; what is wrong is in the report, nothing is changed."""
        with reporting(progress, "check") as report:
            found = self._engine.check(report)
        problems = [Problem(**problem) for problem in found["problems"]]
        return CheckReport(found["families"], found["pages"], found["records"], found["bytes"], problems)

    def stats(self) -> Stats:
        """Counters and histograms since the database was opened, and sizes. Waits for a checkpoint that is running."""
        return read_stats(self._engine)

    @property
    def tiering(self) -> Tiering:
        """How memory is divided when it is short, and why: `print(db.tiering.explain())`.

        Raises:
            ForkedError: The database is of the parent process.
        """
        with self._own_lock():
            if self._tiering is None:
                # Not before it is needed: it takes time to import.
                module: Any = importlib.import_module("lyredb.tiering.manager")
                self._tiering = module.Tiering(self)
            return cast("Tiering", self._tiering)

    @property
    def autotune(self) -> Tuner:
        """Its automatic tuning: `print(db.autotune.status())`.

        Raises:
            ConfigError: It was opened without.
            ForkedError: The database is of the parent process.
        """
        with self._own_lock():
            if self._tuner is None:
                raise ConfigError(
                    "the database is not tuned automatically", suggestion="lyredb.open(path, autotune=True)"
                )
            return self._tuner

    def _change_note(self, family: str, change: Callable[[str | None], str]) -> None:
        """For what is kept with a family: replaces its note, which has the names of its codecs too."""
        with self._own_lock():
            self._engine.set_note(family, change(self._engine.note(family)))

    # --- life

    @property
    def path(self) -> str:
        """The folder."""
        return str(self._engine.path)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._engine.closed

    @property
    def read_only(self) -> bool:
        """Whether it was opened for reading only."""
        return self._engine.read_only

    @property
    def durability(self) -> Durability:
        """When a commit is on the disk."""
        return cast("Durability", self._engine.durability)

    def close(self) -> None:
        """Waits for writers, brings everything to the disk and frees the memory.

        Safe while other threads use the database: their next call raises ClosedError. May be called again.
        """
        # In a forked child there are no such threads: this raises ForkedError there.
        if not self._engine.closed:
            for thread in (self._tuner, self._watch):
                if thread is not None:
                    thread.stop()
        self._engine.close()
        _open_databases.discard(self)

    def __enter__(self) -> Database[K, V]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except ForkedError:
            # A child that leaves its parent's block, as sys.exit does: what it leaves with says more.
            if kind is None:
                raise

    def __reduce__(self) -> NoReturn:
        return self._engine.__reduce__()

    def __repr__(self) -> str:
        try:
            state = ", closed" if self.closed else ", read-only" if self.read_only else ""
        except ForkedError:
            state = ", of the parent process"
        return f"<lyredb.Database {self.path!r}{state}>"


class _Identity(weakref.WeakValueDictionary[int, Database[Any, Any]]):
    """Databases by identity: as mappings they have no hash."""

    def add(self, database: Database[Any, Any]) -> None:
        self[id(database)] = database

    def discard(self, database: Database[Any, Any]) -> None:
        self.pop(id(database), None)


_open_databases = _Identity()


def _close_all() -> None:
    for database in list(_open_databases.values()):
        try:
            database.close()
        except (Error, OSError) as error:
            # The program is ending: there is nobody to raise to, but it must not pass unseen.
            print(f"lyredb: closing {database.path}: {error}", file=sys.stderr)


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    # A child has no databases of its own yet, and must leave its parent's alone.
    os.register_at_fork(after_in_child=_open_databases.clear)


@overload
def open(
    path: PathLike,
    *,
    preset: str | None = None,
    durability: Durability = "group",
    memory_bytes: int | None = None,
    read_only: bool = False,
    create: bool = True,
    tiering: bool | None = None,
    autotune: bool = False,
    key: None = None,
    value: None = None,
    **tunables: settings.Value,
) -> Database[bytes, bytes]: ...
@overload
def open(
    path: PathLike,
    *,
    preset: str | None = None,
    durability: Durability = "group",
    memory_bytes: int | None = None,
    read_only: bool = False,
    create: bool = True,
    tiering: bool | None = None,
    autotune: bool = False,
    key: codecs.CodecLike | None = None,
    value: codecs.CodecLike | None = None,
    **tunables: settings.Value,
) -> Database[Any, Any]: ...
def open(
    path: PathLike,
    *,
    preset: str | None = None,
    durability: Durability = "group",
    memory_bytes: int | None = None,
    read_only: bool = False,
    create: bool = True,
    tiering: bool | None = None,
    autotune: bool = False,
    key: codecs.CodecLike | None = None,
    value: codecs.CodecLike | None = None,
    **tunables: settings.Value,
) -> Database[Any, Any]:
    """Opens the database in a folder, which is made if it does not exist.

    Args:
        path: The folder.
        preset: Settings for a kind of workload, from `lyredb.presets`; `memory_bytes` and `tunables` go before it.
        durability: When a commit is on the disk: "sync", before it returns; "group", a few milliseconds later at most;
            "async", when the system sees fit. `db.sync()` waits for it whatever this is.
        memory_bytes: How much memory pages may take.
        read_only: Refuse writes.
        create: Make the database if there is none.
        tiering: Whether a thread watches if memory is short, and then divides it anew as the work changes; see
            `Database.tiering`. None: unless it is open for reading only.
        autotune: Whether a thread recognises the work of each family and keeps the settings that are measurably better
            for it; see `Database.autotune`. A `preset` is then only where it begins. It takes `pip install
            'lyredb[autotune]'`.
        key: The codec of the default family's keys; see `Database.family`.
        value: The codec of the default family's values.
        **tunables: Settings of the database and defaults for its families; `lyredb tunables` lists them.

    Raises:
        FileNotFoundError: There is no database, and `create` is false.
        LockedError: It is open already.
        NotADatabaseError: There is something else at `path`.
        NewerFormatError: A newer LyreDB wrote it.
        CorruptionError: It is damaged; `lyredb.salvage` saves what can still be read.
        ConfigError: A setting, preset or codec is not known, or the codec is another one than before; or a package that
            `autotune` needs is not installed, or the database is to be read only.
        OSError: The system refused something.
    """
    chosen: dict[str, settings.Value] = dict(tunables)
    if memory_bytes is not None:
        chosen["memory_bytes"] = memory_bytes
    settings.check_names(chosen, arguments=_ARGUMENTS)
    for codec, role in ((key, "key"), (value, "value")):
        if codec is not None:
            codecs.resolve(codec, role=role)
    begin = settings.of_preset(preset) if preset is not None else {}
    if autotune:
        _require_tuning(read_only=read_only)
    else:
        chosen = {**begin, **chosen}
    engine = _engine.Engine(
        os.fsdecode(path), durability=durability, read_only=read_only, create=create, settings=chosen
    )
    try:
        pair = _agreed(engine, _engine.DEFAULT_FAMILY, key, value)
        database: Database[Any, Any] = Database(engine, *pair)
    except BaseException:
        engine.close()
        raise
    _open_databases.add(database)
    if tiering or (tiering is None and not read_only):
        database._watch = Watch(database)  # pyright: ignore[reportPrivateUsage]
    if autotune:
        database._tuner = _tuning().Tuner(database, begin)  # pyright: ignore[reportPrivateUsage]
    return database


def _tuning() -> Any:
    # Not before it is asked for: most programs need none of it.
    return importlib.import_module("lyredb.autotune.tuner")


def _require_tuning(*, read_only: bool) -> None:
    if read_only:
        raise ConfigError("a database that is open for reading only is not tuned", suggestion="leave autotune out")
    _tuning().require_packages()


def _is(native: _engine.Codec, given: codecs.CodecLike | None) -> bool:
    """Whether a family with this codec is what was asked for; an object may have changed under the same name."""
    return given is None or (isinstance(given, str) and native.name == given)


def _remember(engine: _engine.Engine, name: str, pair: Iterable[_engine.Codec]) -> None:
    key, value = pair
    kept: dict[str, Any] = json.loads(engine.note(name) or "{}")
    engine.set_note(name, json.dumps({**kept, "key": key.name, "value": value.name}))


def _agreed(
    engine: _engine.Engine, name: str, key: codecs.CodecLike | None, value: codecs.CodecLike | None
) -> tuple[_engine.Codec, _engine.Codec]:
    """The codecs of a family that exists: those asked for, if they are the ones it was made with."""
    remembered: dict[str, Any] = json.loads(engine.note(name) or "{}")
    if "key" not in remembered:
        # Made without codecs, so of bytes; while it is empty that can still change.
        pair = codecs.resolve(key or "bytes", role="key"), codecs.resolve(value or "bytes", role="value")
        if (pair[0].name, pair[1].name) != ("bytes", "bytes"):
            plain = _engine.Codec("bytes")
            if _engine.Family[Any, Any](engine, name, plain, plain):
                _refuse(name, "key" if pair[0].name != "bytes" else "value", "bytes")
            _remember(engine, name, pair)
        return pair
    return (
        _one_agreed(name, "key", key, remembered["key"]),
        _one_agreed(name, "value", value, remembered["value"]),
    )


def _one_agreed(family: str, role: str, given: codecs.CodecLike | None, remembered: str) -> _engine.Codec:
    if given is None:
        if remembered not in codecs.NAMES:
            raise ConfigError(
                f"family {family!r} was made with the {role} codec {remembered}, which only the program knows",
                suggestion=f"pass it: {role}=...",
            )
        return codecs.resolve(remembered, role=role)
    if codecs.name_of(given) != remembered:
        codecs.resolve(given, role=role)
        _refuse(family, role, remembered)
    return codecs.resolve(given, role=role)


def _refuse(family: str, role: str, remembered: str) -> None:
    raise ConfigError(
        f"family {family!r} was made with the {role} codec {remembered!r}",
        suggestion="leave it out to use that one, or make another family and copy the records",
    )
