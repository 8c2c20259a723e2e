"""What the work of a family is: recognised, watched for changes, and known again."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from lyredb.autotune.features import Vector
from lyredb.autotune.kinds import UNKNOWN, Recognition

_FEWEST_WINDOWS, _MOST_WINDOWS = 2, 5
_SURE = 0.6
# A recognised kind is looked at again after so many windows, by the last few of them.
_AGAIN, _LAST = 40, 4
# What is averaged into a signature.
_SIGNATURE = 40


class Recognises(Protocol):
    """`recognise.Recogniser`, or what can stand in for it."""

    def recognise(self, vectors: list[Vector], /) -> Recognition:
        """What kind of work some windows are of."""
        ...


class Alarm(Protocol):
    """`alarm.ShiftAlarm`, or what can stand in for it."""

    statistic: float

    def see(self, vector: Vector, /) -> bool:
        """Takes the next window; whether the work has changed in it."""
        ...

    def reset(self) -> None:
        """Forgets everything."""
        ...


class Observer:
    """Sees the windows of one family.

    Attributes:
        kind: One of `KINDS`, or "unknown".
        probabilities: Of each kind.
        recognised: Whether that is settled.
        windows: Since the work changed, or from the beginning.
    """

    def __init__(self, recogniser: Recognises, alarm: Alarm) -> None:
        """Begins with nothing known."""
        self.kind = UNKNOWN
        self.probabilities: Mapping[str, float] = {}
        self.recognised = False
        self.windows = 0
        self._recogniser, self._alarm = recogniser, alarm
        self._vectors: deque[Vector] = deque(maxlen=_SIGNATURE)
        self._other_kind: str | None = None

    @property
    def alarm(self) -> float:
        """How near a change of the work is: 1 is one."""
        return float(self._alarm.statistic)

    @property
    def signature(self) -> Vector | None:
        """The mean of the windows lately; None before the first."""
        return np.mean(np.array(self._vectors), axis=0) if self._vectors else None

    def changed(self, vector: Vector) -> bool:
        """Takes a window; whether the work has changed in it. If so, `restart` is to be called."""
        self.windows += 1
        if self._alarm.see(vector):
            return True
        self._vectors.append(vector)
        return self.recognised and self.windows % _AGAIN == 0 and self._drifted()

    def restart(self, first: Vector | None) -> None:
        """The work is another one, with `first` as its first window, if that is of it alone."""
        self._alarm.reset()
        self._vectors.clear()
        if first is not None:
            self._alarm.see(first)
            self._vectors.append(first)
        self.windows, self.recognised, self._other_kind = 1, False, None

    def recognise(self) -> bool:
        """Looks what kind the work is of; whether that is settled now."""
        # From the first window on, though one decides nothing: the first time of all the classifier is fitted for it.
        found = self._recogniser.recognise(list(self._vectors))
        self.kind, self.probabilities = found.kind, found.probabilities
        sure = max(found.probabilities.values(), default=0.0) >= _SURE
        self.recognised = len(self._vectors) >= (_FEWEST_WINDOWS if sure else _MOST_WINDOWS)
        return self.recognised

    def _drifted(self) -> bool:
        """Whether the work has slowly become another kind, twice in a row."""
        found = self._recogniser.recognise(list(self._vectors)[-_LAST:])
        self.probabilities = found.probabilities
        other = found.kind if found.kind != self.kind else None
        drifted = other is not None and other == self._other_kind
        self._other_kind = other
        return drifted
