"""A challenger against the holder in windows of their own, in random order, until one of them has won."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass
from typing import Literal, TypeAlias

from lyredb.autotune.cost import Spent, log_ratio
from lyredb.autotune.pairs import Pairs

Side: TypeAlias = Literal["holder", "challenger"]
Verdict: TypeAlias = Literal["better", "worse", "undecided"]

# Two pairs in a row that are 8 % worse end it, and one that is a quarter worse.
_WORSE = math.log(0.92)
_MUCH_WORSE = math.log(0.75)
# A single window that is so much worse than the holder's last one does, too, unless the challenger was ahead.
_FAR_WORSE = math.log(0.6)
# What cannot be worth this much is not worth the windows either.
_WORTH = 0.02
# A pair is not counted before so many operations were timed on each side, or the sides took turns so often.
_SAMPLES = 8
_TURNS = 2
# One that leads by this much, after two pairs, gets the windows between pairs.
_LEAD = 0.02


@dataclass(frozen=True)
class Terms:
    """How a contest is held, in windows.

    Attributes:
        length: Of a side's turn.
        settling: At the beginning of a turn, which do not count.
        rest: Between two pairs, which the side in the lead gets.
        most_pairs: When it ends undecided.
        promising_pairs, promising: It also does after so many pairs, if their mean is less than this.
        trusted: Whether the challenger leads from the beginning, as it has won before.
    """

    length: int = 1
    settling: int = 0
    rest: int = 2
    most_pairs: int = 24
    promising_pairs: int = 10
    promising: float = 0.0
    trusted: bool = False


class Contest:
    """Says who has the next window, and is told what was spent in it."""

    def __init__(
        self, terms: Terms, rng: random.Random, pairs: Pairs | None = None, usual: Spent | None = None
    ) -> None:
        """Begins a contest.

        Args:
            terms: How it is held.
            rng: Draws the order of the sides.
            pairs: Those of an earlier contest of the same two, to go on with.
            usual: A window of the holder's before it, if there is one.
        """
        self.terms = terms
        self.pairs = Pairs() if pairs is None else pairs
        self.verdict: Verdict | None = None
        self.lost_seconds = 0.0
        self._rng = rng
        self._begun = 0
        self._usual = usual
        self._spent: dict[Side, Spent] = {}
        self._turns = 0
        self._steps: deque[tuple[Side, bool]] = deque()
        self._plan()

    @property
    def side(self) -> Side:
        """Whose the next window is."""
        return self._steps[0][0]

    @property
    def leads(self) -> bool:
        """Whether the challenger is ahead so far."""
        if len(self.pairs) < 2:
            return self.terms.trusted and self.pairs.mean > _WORSE
        return self.pairs.mean > (0.0 if self.terms.trusted else _LEAD)

    def took(self, spent: Spent) -> float | None:
        """Counts a window of `side`.

        Returns:
            The pair that it ended: the logarithm of cost(holder) / cost(challenger); None if it ended none.
        """
        side, counts = self._steps.popleft()
        if side == "holder":
            self._usual = spent
        elif self._usual is not None and self.pairs.mean <= 0.0:
            found = log_ratio(self._usual, spent)
            if found is not None and found <= _FAR_WORSE:
                self.lost_seconds += math.expm1(-found) * spent.seconds
                self.pairs.add(found)
                self.verdict = "worse"
                self._plan()
                return found
        if counts:
            self._spent[side] = self._spent.get(side, Spent()) + spent
        if self._steps:
            return None
        self._turns += 1
        pair = self._pair()
        if pair is not None:
            self.pairs.add(pair)
            self._begun += 1
            self.lost_seconds += math.expm1(-pair) * self._spent["challenger"].seconds
            self._spent, self._turns = {}, 0
            self.verdict = self._judged()
        elif self._turns >= _TURNS * 8:
            self.verdict = "undecided"
        self._plan()
        return pair

    def disturbed(self) -> None:
        """The window that began was spoiled: the turn is taken again."""
        self._spent = {}
        self._steps.clear()
        self._plan()

    def _pair(self) -> float | None:
        holder, challenger = self._spent.get("holder", Spent()), self._spent.get("challenger", Spent())
        if min(holder.samples, challenger.samples) < _SAMPLES and self._turns < _TURNS:
            return None
        return log_ratio(holder, challenger)

    def _judged(self) -> Verdict | None:
        gain, last = self.pairs.gain, self.pairs.last
        if gain.low > 0.0:
            return "better"
        twice = len(last) == 2 and max(last) <= _WORSE and self._begun >= 2
        if ((twice or last[-1] <= _MUCH_WORSE) and self.pairs.mean < 0.0) or gain.high < 0.0:
            return "worse"
        enough = len(self.pairs) >= self.terms.promising_pairs
        hopeless = enough and (self.pairs.mean < self.terms.promising or gain.high < _WORTH)
        return "undecided" if hopeless or len(self.pairs) >= self.terms.most_pairs else None

    def _plan(self) -> None:
        doubtful = bool(self.pairs.last) and self.pairs.last[-1] <= _WORSE
        if self.leads and self._turns == 0 and not doubtful:
            self._give("challenger", self.terms.rest, counts=False)
        first: Side = "holder" if self._rng.random() < 0.5 else "challenger"
        second: Side = "challenger" if first == "holder" else "holder"
        for side in (first, second):
            self._give(side, self.terms.settling, counts=False)
            self._give(side, self.terms.length, counts=True)

    def _give(self, side: Side, windows: int, *, counts: bool) -> None:
        self._steps.extend((side, counts) for _ in range(windows))
