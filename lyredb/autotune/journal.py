"""What tuning decided: what was seen, what was changed, and what came of it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

Value: TypeAlias = "int | str"
Fact: TypeAlias = "str | bool | int | float"

_KEPT = 1000


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes:
        number: From 1 on, in order; of each opening of the database anew.
        at: When, in seconds since 1970.
        family: Whose settings; None: those of the database, or all.
        kind: "shift": the work changed. "recognised": what it was taken for. "applied": settings were put in force.
            "recalled": settings that had won before were. "trial": settings are compared. "accepted", "rejected",
            "undecided": what came of it. "sentinel": settings in force were compared with the default again.
            "rollback": they were taken back. "postponed": a change takes too long now. "paused", "resumed", "frozen",
            "thawed", "failed": of the tuner.
        text: A sentence for people.
        seen: What it was concluded from.
        changed: By setting, the value before and the one after.
        outcome: What was measured.
    """

    number: int
    at: float
    family: str | None
    kind: str
    text: str
    seen: Mapping[str, Fact] = field(default_factory=dict[str, Fact])
    changed: Mapping[str, tuple[Value, Value]] = field(default_factory=dict[str, tuple[Value, Value]])
    outcome: Mapping[str, Fact] = field(default_factory=dict[str, Fact])

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {**asdict(self), "changed": {name: list(pair) for name, pair in self.changed.items()}}

    def attributes(self) -> dict[str, Fact]:
        """All of it, as OpenTelemetry's attributes."""
        found: dict[str, Fact] = {"lyredb.autotune.number": self.number, "lyredb.autotune.text": self.text}
        if self.family is not None:
            found["db.collection.name"] = self.family
        for part, facts in (("seen", self.seen), ("outcome", self.outcome)):
            found.update({f"lyredb.autotune.{part}.{name}": fact for name, fact in facts.items()})
        for name, (before, after) in self.changed.items():
            found[f"lyredb.autotune.before.{name}"] = before
            found[f"lyredb.autotune.after.{name}"] = after
        return found

    def explained(self) -> str:
        """All of it, in lines for people."""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.at))
        lines = [f"{self.number}. {when}  {self.kind}", f"   {self.text}"]
        lines += [f"   changed: {name} {before} -> {after}" for name, (before, after) in self.changed.items()]
        for part, facts in (("seen", self.seen), ("outcome", self.outcome)):
            lines += [f"   {part}: {name} = {_short(fact)}" for name, fact in facts.items()]
        return "\n".join(lines)


def _short(fact: Fact) -> str:
    return f"{fact:.4g}" if isinstance(fact, float) else str(fact)


class Journal:
    """The newest 1,000 decisions."""

    def __init__(self, tell: Callable[[Decision], None], clock: Callable[[], float] = time.time) -> None:
        """Begins an empty one.

        Args:
            tell: Called with each decision, by whoever notes it.
            clock: Seconds since 1970.
        """
        self._tell, self._clock = tell, clock
        self._lock = threading.Lock()
        self._decisions: deque[Decision] = deque(maxlen=_KEPT)
        self._number = 0

    def note(
        self,
        family: str | None,
        kind: str,
        text: str,
        *,
        seen: Mapping[str, Fact] | None = None,
        changed: Mapping[str, tuple[Value, Value]] | None = None,
        outcome: Mapping[str, Fact] | None = None,
    ) -> Decision:
        """Adds a decision. `text` is told behind the family's name."""
        with self._lock:
            self._number += 1
            sentence = text if family is None else f"{family}: {text}"
            decision = Decision(
                self._number, self._clock(), family, kind, sentence, seen or {}, changed or {}, outcome or {}
            )
            self._decisions.append(decision)
        self._tell(decision)
        return decision

    def decisions(self, family: str | None = None) -> list[Decision]:
        """Those there are, oldest first; of one family, or all."""
        with self._lock:
            return [each for each in self._decisions if family is None or each.family == family]

    def decision(self, number: int) -> Decision:
        """One of them.

        Raises:
            LookupError: There is none of this number, or it is no longer kept.
        """
        for each in self.decisions():
            if each.number == number:
                return each
        raise LookupError(f"there is no decision {number}, or it is too old: history() has those that are kept")
