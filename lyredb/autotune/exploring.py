"""When better settings are looked for, and what that may cost."""

from __future__ import annotations

import random
from collections.abc import Mapping

from lyredb.autotune.journal import Value
from lyredb.autotune.search import Search

_PAUSE, _LONGEST_PAUSE = 5.0, 320.0
# After so many failures the pause doubles with each.
_PATIENCE = 2
_LIVELY = 40.0
# What trials lose is at most this part of what the default would have done, beside the first half second.
_MOST_LOST, _FREE_SECONDS = 0.02, 0.5
_CHEAP_RESHAPE = 0.05
# Leaves are not cut for trials before the work has lasted so long.
_LASTING_SECONDS = 30.0


class Explorer:
    """Proposes settings for one family, rarely, and as long as trials have not lost too much."""

    def __init__(self, rng: random.Random) -> None:
        """Begins with nothing lost.

        Args:
            rng: Seeds the studies.
        """
        self._rng = rng
        self._active = self._since = self._lost = self._lasted = 0.0
        self._pause, self._failures = _PAUSE, 0
        self._searches: dict[str, Search] = {}
        self._search: Search | None = None

    @property
    def lively(self) -> bool:
        """Whether trials are near enough to each other to say that it refines."""
        return self._pause <= _LIVELY

    def passed(self, seconds: float) -> None:
        """Counts time with work in it."""
        self._active += seconds
        self._since += seconds
        self._lasted += seconds

    def shifted(self) -> None:
        """The work is another one: it is not disturbed at once."""
        self._since = self._lasted = 0.0

    def lost(self, seconds: float) -> None:
        """Counts what windows of a challenger took longer than the holder's; less than nothing if they were quicker."""
        self._lost = max(self._lost + seconds, 0.0)

    @property
    def free(self) -> bool:
        """Whether the last trial is some seconds ago, and trials have not lost too much yet."""
        return self._since >= _PAUSE and self._lost <= self._active * _MOST_LOST + _FREE_SECONDS

    @property
    def due(self) -> bool:
        """Whether a trial may be begun."""
        return self.free and self._since >= self._pause

    def cheap(self, reshape_seconds: float | None) -> bool:
        """Whether leaves may be cut anew for a trial; what it takes is not known before the first time."""
        return self._lasted >= _LASTING_SECONDS and (reshape_seconds or 0.0) <= _CHEAP_RESHAPE

    def propose(self, kind: str, settings: Mapping[str, Value], without: frozenset[str]) -> dict[str, Value] | None:
        """Settings to try for a kind of work instead of those in force; None: none are worth it."""
        self._since = 0.0
        self._search = self._searches.get(kind)
        if self._search is None:
            self._search = self._searches[kind] = Search(kind, self._rng.randrange(1 << 31))
        return self._search.ask(settings, without)

    def told(self, settings: Mapping[str, Value], gain: float) -> None:
        """Takes what came of the proposal: the logarithm of cost(default) / cost(settings)."""
        if self._search is not None:
            self._search.tell(settings, gain)

    def won(self) -> None:
        """A proposal is in force: others may be near."""
        self._since, self._pause, self._failures = 0.0, _PAUSE, 0

    def failed(self) -> None:
        """A proposal was not better; after some, others are tried less and less often."""
        self._since = 0.0
        self._failures += 1
        if self._failures >= _PATIENCE:
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
