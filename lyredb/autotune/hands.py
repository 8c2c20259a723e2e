"""What tuning does to the engine: it sets the settings of a family, and cuts its leaves anew."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from lyredb import presets
from lyredb.autotune.cost import Distribution
from lyredb.autotune.journal import Value

LAYOUT = "leaf_bytes"
"""What takes hold at once only if the family's leaves are cut anew."""
# So long a reshape is worked on before its end is foretold: on a busy machine the first steps may wait.
_FORETOLD_AFTER = 0.5


class Engine(Protocol):
    """The part of `_engine.Engine` that tuning uses."""

    def sense(self, go_on: bool = True, /) -> dict[str, dict[str, float]]:
        """Counters and the sketch's figures, by family."""
        ...

    def timings(self) -> Mapping[str, Mapping[str, Distribution]]:
        """Sampled times of operations, by family."""
        ...

    def settings(self, family: str | None, /) -> list[tuple[str, Value, bool]]:
        """The settings in force, and whether the user set them."""
        ...

    def tune(self, family: str | None, settings: Mapping[str, Value], /) -> None:
        """Sets what goes below the user's settings and above the defaults."""
        ...

    def reshape(self, family: str, progress: Callable[[int, int], object] | None, /) -> int:
        """Cuts the leaves of a family anew."""
        ...


class _TooLong(Exception):
    pass


class Hands:
    """What is in force for one family."""

    def __init__(self, engine: Engine, family: str, ended: Callable[[], bool]) -> None:
        """Takes a family as it is, with nothing set by tuning.

        Args:
            engine: Whose family it is.
            family: Its name.
            ended: Whether to give up what takes long.
        """
        self.in_force: Mapping[str, Value] = {}
        self.reshape_seconds: float | None = None
        """What the last reshape took; None: there was none yet."""
        self.moved = False
        """Whether something took so long since this was last set to False that the window is spoiled."""
        self._engine, self._family, self._ended = engine, family, ended
        self._usual_layout = presets.tunable(LAYOUT).default
        self._layout: Value | None = self._usual_layout

    def pinned(self) -> frozenset[str]:
        """What the user set, and tuning leaves alone."""
        return frozenset(name for name, _, pinned in self._engine.settings(self._family) if pinned)

    def layout_of(self, settings: Mapping[str, Value]) -> Value:
        """The size of leaves by these settings."""
        return settings.get(LAYOUT, self._usual_layout)

    def differ(self, one: Mapping[str, Value], other: Mapping[str, Value]) -> bool:
        """Whether going from one to the other cuts leaves anew."""
        return self.layout_of(one) != self.layout_of(other)

    def found(self, settings: Mapping[str, Value], *, leaves_unsure: bool) -> None:
        """Puts settings in force for leaves that have their layout already, unless that is unsure."""
        if settings:
            self._engine.tune(self._family, settings)
        self.in_force = dict(settings)
        self._layout = None if leaves_unsure else self.layout_of(settings)

    def put(self, settings: Mapping[str, Value], most_seconds: float) -> bool:
        """Puts settings in force, with the leaves cut as they say.

        Returns:
            False if the leaves would take longer than `most_seconds`: then nothing is changed, but for some of them.
        """
        if settings != self.in_force:
            self._engine.tune(self._family, settings)
            self.moved = True
        if self.layout_of(settings) != self._layout and not self._reshape(most_seconds):
            self._engine.tune(self._family, self.in_force)
            return False
        self.in_force = dict(settings)
        self._layout = self.layout_of(settings)
        return True

    def give_up(self) -> None:
        """Takes back all that tuning set, at once; leaves stay as they are."""
        self._engine.tune(self._family, {})
        self.in_force = {}

    def _reshape(self, most_seconds: float) -> bool:
        begin = time.perf_counter()

        def so_far(done: int, total: int) -> None:
            passed = time.perf_counter() - begin
            foretold = passed * total / done if done else 0.0
            if self._ended() or passed > most_seconds or (passed > _FORETOLD_AFTER and foretold > most_seconds):
                self.reshape_seconds = max(passed, foretold)
                raise _TooLong

        self.moved = True
        try:
            self._engine.reshape(self._family, so_far)
        except _TooLong:
            return False
        self.reshape_seconds = time.perf_counter() - begin
        return True
