"""`db.autotune`: the thread that tunes an open database, and what may be asked of it.

Nothing is imported here that takes time: numpy, scikit-learn and Optuna are, by the thread, once it runs.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lyredb import telemetry
from lyredb.autotune.journal import Decision, Journal, Value
from lyredb.autotune.status import FamilyStatus, Status
from lyredb.autotune.turns import quick_turns
from lyredb.db.errors import ClosedError, ConfigError, FamilyNotFoundError

if TYPE_CHECKING:
    from lyredb.autotune.loop import Loop
    from lyredb.autotune.memory import Memory
    from lyredb.db.database import Database

SECONDS = 0.25
"""How long a window is."""
_NEEDED = ("numpy", "sklearn", "optuna")

_log = logging.getLogger("lyredb")


def require_packages() -> None:
    """Checks that what tuning needs is installed, without importing it.

    Raises:
        ConfigError: It is not.
    """
    for name in _NEEDED:
        if importlib.util.find_spec(name) is None:
            package = {"sklearn": "scikit-learn"}.get(name, name)
            raise ConfigError(
                f"automatic tuning needs the package {package}", suggestion="pip install 'lyredb[autotune]'"
            )


class Tuner:
    """The automatic tuning of a database; `Database.autotune`.

    A thread looks at the work of each family every 250 ms, recognises what kind it is, and keeps the settings that are
    measurably better for it than the default. What was set by hand it leaves alone, and it never touches what a program
    could observe: durability, isolation and limits.
    """

    def __init__(self, database: Database[Any, Any], start: Mapping[str, Value] | None = None) -> None:
        """Starts the thread.

        Args:
            database: Not kept alive by this.
            start: Settings to begin with, which are not better known than the default.
        """
        ended = self._ended = threading.Event()
        self._database = weakref.ref(database, lambda _: ended.set())
        self._journal = Journal(self._tell)
        self._start = dict(start or {})
        # Held while a window is looked at.
        self._working = threading.Lock()
        self._loop: Loop | None = None
        self._paused = self._frozen = False
        self._error: str | None = None
        self._families: Mapping[str, FamilyStatus] = {}
        self._settings: Mapping[str, Value] = {}
        self._thread = threading.Thread(
            target=_run, args=(weakref.ref(self), ended), name="lyredb-autotune", daemon=True
        )
        self._thread.start()

    # --- what may be asked

    def status(self) -> Status:
        """How tuning stands, as of the last window."""
        loop = self._loop
        return Status(
            state="paused" if self._paused or self._error else "frozen" if self._frozen else "running",
            windows=loop.windows if loop is not None else 0,
            families=self._families,
            settings=self._settings,
            error=self._error,
        )

    def history(self, family: str | None = None) -> list[Decision]:
        """The newest 1,000 decisions since the database was opened, oldest first.

        Args:
            family: Only this one's.
        """
        return self._journal.decisions(family)

    def explain(self, number: int) -> str:
        """A decision in full: what was seen, what was changed, and what came of it.

        Raises:
            LookupError: There is none of this number, or it is no longer kept.
        """
        return self._journal.decision(number).explained()

    def pause(self) -> None:
        """Looks at nothing and changes nothing until `resume`; what has won stays in force."""
        with self._working:
            if not self._paused:
                self._paused = True
                self._rest()
                self._journal.note(None, "paused", "tuning is paused: what has won stays in force")

    def resume(self) -> None:
        """Takes `pause` back."""
        with self._working:
            if self._paused:
                self._paused = False
                self._journal.note(None, "resumed", "tuning goes on")

    def freeze(self) -> None:
        """Tries nothing and changes nothing until `thaw`, but goes on looking; what has won stays in force."""
        with self._working:
            if not self._frozen:
                self._frozen = True
                self._rest()
                self._journal.note(None, "frozen", "settings are frozen: what has won stays in force")

    def thaw(self) -> None:
        """Takes `freeze` back."""
        with self._working:
            if self._frozen:
                self._frozen = False
                self._journal.note(None, "thawed", "settings may change again")

    def rollback(self, family: str | None = None) -> None:
        """Goes back to the default at once, and forgets what had won for the present work.

        Args:
            family: Whose settings; None: those of all families, and of the database.

        Raises:
            FamilyNotFoundError: There is no such family.
            ClosedError: The database is closed.
        """
        database = self._open()
        if family is not None and family not in database.families():
            raise FamilyNotFoundError(f"there is no family {family!r}")
        with self._working:
            if self._loop is not None:
                self._loop.roll_back(family)
                self._publish(self._loop)

    # --- for the database

    def stop(self) -> None:
        """Returns when the thread does nothing more."""
        self._ended.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    # --- for the thread

    def begin(self, ended: threading.Event) -> None:
        """Imports what is needed, and puts in force what was good last."""
        loop: Any = importlib.import_module("lyredb.autotune.loop")
        alarm: Any = importlib.import_module("lyredb.autotune.alarm")
        presets: Any = importlib.import_module("lyredb.presets")
        begun = loop.Loop(
            _Engine(self._open),
            _Notes(self._open),
            self._journal,
            recogniser=_Lazily(),
            alarm=alarm.ShiftAlarm,
            machine=presets.this_machine(),
            start=self._start,
            ended=ended.is_set,
        )
        with self._working:
            self._loop = begun
            self._publish(begun)

    def tick(self) -> None:
        """Takes a window."""
        with self._working:
            if self._loop is not None and not self._paused:
                self._loop.tick(frozen=self._frozen)
                self._publish(self._loop)

    def fail(self, error: Exception) -> None:
        """Tuning ends, by an error: it is told, and settings go back to the default."""
        self._error = f"{type(error).__name__}: {error}"
        _log.error("automatic tuning has stopped, and settings are the default again: %s", self._error, exc_info=error)
        with self._working:
            try:
                if self._loop is not None:
                    self._loop.give_up()
                    self._publish(self._loop)
            except ClosedError:
                return
            self._journal.note(None, "failed", f"tuning has stopped, and settings are the default again: {self._error}")

    def _rest(self) -> None:
        if self._loop is not None:
            self._loop.rest()
            self._publish(self._loop)

    def _publish(self, loop: Loop) -> None:
        self._families, self._settings = loop.statuses(), dict(loop.shared.in_force)

    def _tell(self, decision: Decision) -> None:
        database = self._database()
        if database is not None:
            telemetry.decided(database, decision.kind, decision.attributes())

    def _open(self) -> Database[Any, Any]:
        database = self._database()
        if database is None:
            raise ClosedError("the database is gone")
        return database


def _run(reference: weakref.ref[Tuner], ended: threading.Event) -> None:
    tuner = reference()
    if tuner is None:
        return
    try:
        tuner.begin(ended)
        del tuner
        while not ended.wait(SECONDS):
            tuner = reference()
            if tuner is None:
                return
            tuner.tick()
            # Not for the length of the pause: whoever drops a database closes it.
            del tuner
    except ClosedError:
        return
    except Exception as error:
        tuner = reference()
        # What fails while the program ends fails because it ends.
        if tuner is not None and not ended.is_set() and threading.main_thread().is_alive():
            tuner.fail(error)


class _Engine:
    """The engine of a database, which is not kept alive."""

    def __init__(self, database: Callable[[], Database[Any, Any]]) -> None:
        self._database = database

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database()._engine, name)  # pyright: ignore[reportPrivateUsage]


class _Notes:
    """What won, in the notes of a database's families."""

    def __init__(self, database: Callable[[], Database[Any, Any]]) -> None:
        self._database = database
        self._memory: Any = importlib.import_module("lyredb.autotune.memory")

    def load(self, family: str) -> Memory:
        """What is known of a family's work."""
        return self._memory.from_note(self._database()._engine.note(family))  # pyright: ignore[reportPrivateUsage]

    def save(self, family: str, memory: Memory) -> None:
        """Keeps what is known."""
        self._database()._change_note(family, lambda note: self._memory.into_note(note, memory))  # pyright: ignore[reportPrivateUsage]


class _Lazily:
    """The recogniser, fitted when it is first asked: a program that does nothing yet is not slowed down."""

    def __init__(self) -> None:
        self._recogniser: Any = None

    def recognise(self, vectors: Any) -> Any:
        """What kind of work some windows are of."""
        if self._recogniser is None:
            with quick_turns():
                module: Any = importlib.import_module("lyredb.autotune.recognise")
                self._recogniser = module.Recogniser()
        return self._recogniser.recognise(vectors)
