"""The tuning of one family: from what is seen of its work to settings that are better for it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from lyredb.autotune import blend, sentences
from lyredb.autotune.contest import Contest, Terms
from lyredb.autotune.cost import Spent
from lyredb.autotune.exploring import Explorer
from lyredb.autotune.features import NAMES, Vector
from lyredb.autotune.hands import LAYOUT, Hands
from lyredb.autotune.journal import Journal, Value
from lyredb.autotune.kinds import UNKNOWN
from lyredb.autotune.memory import NEAR, Memory, Remembered, distance
from lyredb.autotune.observing import Alarm, Observer, Recognises
from lyredb.autotune.pairs import Gain, Pairs
from lyredb.autotune.status import FamilyStatus
from lyredb.presets import Machine, format_size, tunable

Settings: TypeAlias = Mapping[str, Value]
Source: TypeAlias = Literal["default", "preset", "blend", "remembered", "refined"]

SECONDS = 0.25
"""How long a window is."""
# Of a stretch of time with one layout, cutting the leaves anew may take an eighth.
_SHARE_OF_RESHAPES = 8
# Cutting them makes what is read next cold, and that is not in the comparison: what does not gain this soon is let go.
_PROMISING_PAIRS, _PROMISING = 3, 0.03
_LONGEST_RESHAPE = 2.0
# To get back to the default is worth more time.
_LONGEST_RETURN = 30.0
_SENTINEL_REST, _SENTINEL_REST_WITH_RESHAPE = 40, 160
_QUIET = 8
# Settings that have failed so often are not chosen for the same work again: a noisy machine fails good ones, too.
_CHANCES = 3
# What brings less than these pairs can show is not looked for.
_REFINING_PAIRS = 12
# From a failure to the next chance, in windows, for each failure so far.
_NEXT_CHANCE = 80
# Random writes into leaves this many times as large as usual are slow; so many of all operations are many.
_LARGE, _MANY_WRITES = 2, 0.05


@dataclass(frozen=True)
class Window:
    """What was seen of a family between two readings.

    Attributes:
        vector: Its features; None: there was too little work to tell.
        spent: What operations cost.
        seconds: How long it lasted.
    """

    vector: Vector | None
    spent: Spent
    seconds: float


@dataclass(frozen=True)
class Tools:
    """What the tuning of all families has in common.

    Attributes:
        journal: Takes the decisions.
        recogniser: Tells kinds of work.
        alarm: Makes the alarm of a family.
        machine: What presets are scaled to.
        rng: Draws the order of windows, and seeds.
        explore: Whether better settings than the preset's are looked for.
    """

    journal: Journal
    recogniser: Recognises
    alarm: Callable[[], Alarm]
    machine: Machine
    rng: random.Random
    explore: bool = True


class FamilyTuner:
    """Is told of each window, and puts in force what the next one is to have."""

    def __init__(
        self,
        name: str,
        hands: Hands,
        tools: Tools,
        *,
        memory: Memory,
        save: Callable[[Memory], None],
        start: Settings,
    ) -> None:
        """Begins with what was good last, or else with `start`.

        Args:
            name: Of the family.
            hands: Change its settings.
            tools: Shared with other families.
            memory: What won before.
            save: Keeps the memory in the database.
            start: Settings of a preset that the user named.
        """
        self.name = name
        self._hands, self._tools, self._memory, self._save = hands, tools, memory, save
        self._journal = tools.journal
        self._observer = Observer(tools.recogniser, tools.alarm())
        self._start = dict(start)
        self._explorer = Explorer(tools.rng)
        self._contest: Contest | None = None
        self._sentinel: Contest | None = None
        self._purpose: Literal["verify", "refine"] = "verify"
        self._holder: Settings = {}
        self._challenger: Settings = {}
        self._incumbent: Settings = {}
        self._source: Source = "default"
        self._candidate_source: Source = "blend"
        self._gain: Gain | None = None
        # Whether settings were chosen for the work that was recognised.
        self._chosen = False
        self._good_for: Vector | None = None
        self._failures = self._chance_from = 0
        self._next_chance: Settings = {}
        self._unfinished: dict[tuple[object, ...], Pairs] = {}
        self._seconds = 0.0
        self._quiet = 0
        # What was in force in the last window, and what that cost.
        self._last: tuple[Settings, Spent] | None = None
        self._begin()

    def _begin(self) -> None:
        last, without = self._memory.in_force, self._hands.pinned()
        settings = self._without(last.settings if last else self._start, without)
        self._hands.found(settings, leaves_unsure=self._memory.leaves_unsure)
        if not settings:
            return
        self._incumbent = settings
        self._source = "remembered" if last else "preset"
        if last is not None:
            self._good_for = np.array(last.vector)
            self._observer.kind = last.kind
        text = f"settings that were best when it was last open for {last.kind}" if last else "the preset's settings"
        self._tell("recalled" if last else "applied", f"{text}: {sentences.listed({}, settings)}", {}, settings)

    # --- what is called by the loop

    def look(self, window: Window, *, frozen: bool = False) -> None:
        """Takes the window that has ended, decides, and puts in force what the next one is to have."""
        if window.vector is None:
            self._quiet += 1
            return
        self._quiet = 0
        self._seconds += window.seconds
        self._explorer.passed(window.seconds)
        self._last = dict(self._hands.in_force), window.spent
        if not frozen and self._endangered(window.vector):
            # A part of the window may be of the work before: it is not taken for the new one's.
            self._shifted(None, frozen)
        elif self._observer.changed(window.vector):
            self._shifted(window.vector, frozen)
        elif (self._observer.recognised or self._recognised()) and not frozen:
            self._go_on(window)

    def rest(self) -> None:
        """Ends what is being tried; what has won stays in force."""
        self._put_aside()
        self._contest = self._sentinel = None
        # What is being verified is chosen again later, and goes on where it was.
        self._chosen = self._chosen and bool(self._incumbent)
        self._keep(self._incumbent)

    def roll_back(self) -> None:
        """To the default, and what won for such work is forgotten."""
        before = self._hands.in_force
        self._contest = self._sentinel = None
        self._memory.forget(self._observer.signature)
        self._save(self._memory)
        self._to_default()
        self._tell("rollback", f"taken back by hand: {sentences.listed(before, {})}", before, {})
        self._explorer.failed()

    def give_up(self) -> None:
        """All settings back at once, as tuning has failed."""
        self._hands.give_up()

    @property
    def status(self) -> FamilyStatus:
        """How it stands."""
        gain = self._gain
        if self._contest is not None and self._purpose == "verify" and len(self._contest.pairs):
            gain = self._contest.pairs.gain
        return FamilyStatus(
            state=self._state(),
            kind=self._observer.kind,
            probabilities=dict(self._observer.probabilities),
            source=self._source_in_force(),
            settings=dict(self._hands.in_force),
            gain=gain.ratios() if gain else None,
            alarm=self._observer.alarm,
        )

    def _source_in_force(self) -> Source:
        if not self._hands.in_force:
            return "default"
        if self._contest is not None and self._hands.in_force == self._challenger:
            return self._candidate_source if self._purpose == "verify" else "refined"
        return self._source

    def _state(self) -> Literal["idle", "observing", "verifying", "refining", "settled"]:
        if self._quiet >= _QUIET or not self._observer.windows:
            return "idle"
        if not self._observer.recognised:
            return "observing"
        if self._contest is not None and self._purpose == "verify":
            return "verifying"
        return "refining" if self._contest is not None or self._explorer.lively else "settled"

    # --- recognising

    def _endangered(self, vector: Vector) -> bool:
        """Whether other work than the leaves were cut for writes into leaves that are too large for it."""
        usual = int(tunable(LAYOUT).default)
        if int(self._hands.layout_of(self._hands.in_force)) <= usual * _LARGE:
            return False
        writes = sum(vector[NAMES.index(name)] for name in ("put_share", "delete_share", "batch_share"))
        if writes * (1.0 - vector[NAMES.index("append_share")]) < _MANY_WRITES:
            return False
        if self._good_for is not None and distance(vector, self._good_for) < NEAR:
            return False
        before = self._hands.in_force
        self._hands.put({}, _LONGEST_RETURN)
        self._incumbent, self._source = {}, "default"
        self._tell("rollback", "it writes into large leaves: they are cut to the usual size at once", before, {})
        return True

    def _shifted(self, vector: Vector | None, frozen: bool) -> None:
        seen = {"alarm": self._observer.alarm, "seconds": round(self._seconds, 2), "kind": self._observer.kind}
        self._put_aside()
        self._explorer.shifted()
        self._observer.restart(vector)
        self._chosen, self._seconds = False, SECONDS
        before = self._hands.in_force
        if frozen:
            self._tell("shift", "its work has changed; nothing is done about it, as tuning is frozen", seen=seen)
            return
        self._contest = self._sentinel = None
        self._next_chance, self._failures = {}, 0
        # Leaves cannot be changed at once; they wait for what the work is recognised as.
        kept = {name: value for name, value in before.items() if tunable(name).change == "rewrite"}
        self._hands.put(kept, _LONGEST_RETURN)
        self._incumbent, self._gain = {}, None
        back = "" if before == kept else f": back to {sentences.listed(before, kept)}"
        self._tell("shift", f"its work has changed{back}", before, kept, seen=seen)

    def _recognised(self) -> bool:
        if not self._observer.recognise():
            return False
        kind, probabilities = self._observer.kind, self._observer.probabilities
        named = ", ".join(f"{kind} {part:.0%}" for kind, part in probabilities.items() if part >= 0.1)
        self._tell(
            "recognised",
            f"{kind} ({named}) recognised after {self._seconds:.1f} s",
            seen={"kind": kind, **{f"share.{each}": part for each, part in probabilities.items()}},
        )
        return True

    @property
    def _signature(self) -> Vector:
        found = self._observer.signature
        assert found is not None, "settings are chosen after windows were seen"
        return found

    # --- choosing and verifying

    def _choose(self) -> None:
        without = self._hands.pinned()
        known = self._memory.nearest(self._signature)
        self._failures = known.failures if known is not None else 0
        if known is not None and not known.settings and self._failures < _CHANCES:
            known = None
        if known is not None:
            settings, self._candidate_source = self._without(known.settings, without), "remembered"
        elif self._observer.kind == UNKNOWN:
            settings, self._candidate_source = self._without(self._start, without), "preset"
        else:
            settings = blend.telling(blend.blend(self._observer.probabilities, self._tools.machine, without=without))
            pure = self._observer.probabilities.get(self._observer.kind, 0.0) > 0.9
            self._candidate_source = "preset" if pure else "blend"
        before = self._hands.in_force
        if not settings:
            self._to_default()
            why = "it was best for such work before" if known else "nothing else that windows can tell is known for it"
            self._tell("applied", f"the default: {why}", before, {})
            return
        if known is not None:
            text = f"such work was met before: {sentences.listed({}, settings)} at once, and verified again"
            self._tell("recalled", text, before, settings, seen={"kind": known.kind})
        self._verify(settings, trusted=known is not None)

    def _verify(self, settings: Settings, *, trusted: bool) -> None:
        settings = self._reachable(settings)
        if not settings:
            self._to_default()
            return
        pairs = self._unfinished.pop(_key(self._observer.kind, settings), None)
        self._begin_contest("verify", {}, settings, trusted=trusted, pairs=pairs)
        self._tell("trial", f"verifying {sentences.listed({}, settings)} against the default", {}, settings)

    def _reachable(self, settings: Settings) -> Settings:
        """The settings without those that would take too long to take hold; all others are in force."""
        if self._hands.differ(self._hands.in_force, settings):
            # Should the program be killed in the trial, the next opening knows.
            self._leaves_unsure(True)
        if self._hands.put(settings, _LONGEST_RESHAPE):
            return settings
        rest = self._without(settings, {LAYOUT})
        seconds = self._hands.reshape_seconds or 0.0
        self._tell(
            "postponed",
            f"to cut its leaves to {format_size(int(settings[LAYOUT]))} would take {seconds:.1f} s: not done",
            outcome={"seconds": seconds},
        )
        return rest

    def _begin_contest(
        self,
        purpose: Literal["verify", "refine"],
        holder: Settings,
        challenger: Settings,
        *,
        trusted: bool = False,
        pairs: Pairs | None = None,
    ) -> None:
        self._purpose, self._holder, self._challenger = purpose, holder, challenger
        terms = self._terms(holder, challenger, trusted)
        if purpose == "refine":
            terms = replace(terms, most_pairs=_REFINING_PAIRS)
        usual = self._last[1] if self._last is not None and self._last[0] == holder else None
        self._contest = Contest(terms, self._tools.rng, pairs, usual)
        self._put_side(self._contest)

    def _terms(self, holder: Settings, challenger: Settings, trusted: bool) -> Terms:
        length, settling = 1, 0
        cut = self._hands.differ(holder, challenger)
        if cut:
            length = max(2, int((self._hands.reshape_seconds or 0.0) * _SHARE_OF_RESHAPES / SECONDS))
        if holder.get("delta_records") != challenger.get("delta_records"):
            # It takes hold leaf by leaf, as they are rebuilt.
            settling = 1
        terms = Terms(length=length, settling=settling, rest=2 * length, trusted=trusted)
        return replace(terms, promising_pairs=_PROMISING_PAIRS, promising=_PROMISING) if cut else terms

    def _put_side(self, contest: Contest) -> None:
        # A sentinel holds the default against what has won.
        watched = contest is self._sentinel
        holder: Settings = {} if watched else self._holder
        challenger = self._incumbent if watched else self._challenger
        self._keep(holder if contest.side == "holder" else challenger)

    def _keep(self, settings: Settings) -> None:
        self._hands.put(settings, _LONGEST_RETURN)

    # --- while nothing shifts

    def _go_on(self, window: Window) -> None:
        if not self._chosen:
            self._chosen = True
            self._choose()
            return
        contest = self._contest or self._sentinel
        if contest is not None:
            self._count(contest, window)
        elif self._incumbent:
            self._watch()
        contest = self._contest
        if contest is None and self._has_a_chance():
            self._try_again()
        elif contest is None and self._tools.explore and self._explorer.due:
            self._explore()
        contest = self._contest or self._sentinel
        if contest is not None:
            self._put_side(contest)

    def _count(self, contest: Contest, window: Window) -> None:
        pair = contest.took(window.spent)
        if pair is not None:
            self._explorer.lost(contest.lost_seconds)
            contest.lost_seconds = 0.0
        if contest.verdict is None:
            return
        if contest is self._sentinel:
            self._sentinel_ended(contest)
        elif self._purpose == "refine":
            self._refined(contest)
        else:
            self._verified(contest)

    def _verified(self, contest: Contest) -> None:
        gain, settings = contest.pairs.gain, self._challenger
        self._contest, self._memory.leaves_unsure = None, False
        # What won before, and is not worse now, stays.
        won = contest.verdict == "better" or (
            contest.verdict == "undecided" and self._candidate_source == "remembered" and gain.middle > 0.0
        )
        told = sentences.compared({}, settings, gain, f"the default, by {len(contest.pairs)} pairs")
        if won:
            self._take(settings, self._candidate_source, gain)
            self._tell("accepted", f"{told}: kept", {}, settings, outcome=sentences.outcome(gain, contest))
            return
        self._failed(settings)
        recalled = self._candidate_source == "remembered"
        kind = "rollback" if recalled else "rejected" if contest.verdict == "worse" else "undecided"
        self._tell(kind, f"{told}: back to the default", settings, {}, outcome=sentences.outcome(gain, contest))

    def _failed(self, settings: Settings) -> None:
        """Back to the default, for good if it is the last chance."""
        self._to_default()
        self._failures += 1
        self._memory.remember(self._known({}, None))
        self._save(self._memory)
        self._explorer.failed()
        self._next_chance = settings if self._failures < _CHANCES else {}
        self._chance_from = self._observer.windows + _NEXT_CHANCE * self._failures

    def _leaves_unsure(self, unsure: bool) -> None:
        if unsure != self._memory.leaves_unsure:
            self._memory.leaves_unsure = unsure
            self._save(self._memory)

    def _take(self, settings: Settings, source: Source, gain: Gain) -> None:
        self._incumbent, self._source, self._gain = dict(settings), source, gain
        self._good_for, self._memory.leaves_unsure = self._signature, False
        self._memory.remember(self._known(settings, gain))
        self._save(self._memory)
        self._keep(settings)
        self._watch()

    def _watch(self) -> None:
        """From now on the default is tried again, now and then."""
        slow = self._hands.differ({}, self._incumbent)
        terms = self._terms({}, self._incumbent, trusted=True)
        rest = _SENTINEL_REST_WITH_RESHAPE if slow else _SENTINEL_REST
        self._sentinel = Contest(
            Terms(terms.length, terms.settling, rest * terms.length, trusted=True), self._tools.rng
        )

    def _sentinel_ended(self, contest: Contest) -> None:
        gain, settings = contest.pairs.gain, self._incumbent
        self._sentinel = None
        if contest.verdict != "worse":
            self._gain = gain
            told = sentences.compared({}, settings, gain, "the default, still: kept")
            self._tell("sentinel", told, outcome=sentences.outcome(gain, contest))
            self._watch()
            return
        self._failed(settings)
        told = sentences.compared({}, settings, gain, "the default by now: taken back")
        self._tell("rollback", told, settings, {}, outcome=sentences.outcome(gain, contest))

    def _has_a_chance(self) -> bool:
        due = self._observer.windows >= self._chance_from and self._explorer.free
        return bool(self._next_chance) and due and not self._incumbent

    def _try_again(self) -> None:
        settings, self._next_chance = self._without(self._next_chance, self._hands.pinned()), {}
        self._verify(settings, trusted=False)

    # --- refining

    def _explore(self) -> None:
        without = set(self._hands.pinned())
        if not self._explorer.cheap(self._hands.reshape_seconds):
            without.add(LAYOUT)
        proposal = self._explorer.propose(self._observer.kind, self._incumbent, frozenset(without))
        if proposal is None:
            self._explorer.failed()
            return
        if self._hands.differ(self._incumbent, proposal) and self._reachable(proposal) != proposal:
            self._keep(self._incumbent)
            return
        self._begin_contest("refine", self._incumbent, proposal)
        self._tell("trial", f"trying {sentences.listed(self._incumbent, proposal)}", self._incumbent, proposal)

    def _refined(self, contest: Contest) -> None:
        gain, settings, before = contest.pairs.gain, self._challenger, self._incumbent
        self._contest = None
        base = self._gain or Gain(0.0, 0.0, 0.0)
        self._explorer.told(settings, base.middle + gain.middle)
        told = sentences.compared(before, settings, gain, f"what it was, by {len(contest.pairs)} pairs")
        if contest.verdict == "better":
            self._explorer.won()
            total = Gain(base.low + gain.low, base.middle + gain.middle, base.high + gain.high)
            self._take(settings, "refined", total)
            self._tell("accepted", f"{told}: kept", before, settings, outcome=sentences.outcome(gain, contest))
            return
        self._explorer.failed()
        self._keep(before)
        self._leaves_unsure(False)
        if self._sentinel is not None:
            self._sentinel.disturbed()
        kind = "rejected" if contest.verdict == "worse" else "undecided"
        self._tell(kind, f"{told}: not kept", settings, before, outcome=sentences.outcome(gain, contest))

    # --- small things

    def _to_default(self) -> None:
        self._incumbent, self._source, self._gain, self._sentinel = {}, "default", None, None
        self._keep({})

    def _put_aside(self) -> None:
        """Keeps the pairs of a contest that does not end now, for when the same two meet again."""
        if self._contest is not None and self._purpose == "verify" and len(self._contest.pairs):
            self._unfinished[_key(self._observer.kind, self._challenger)] = self._contest.pairs
            while len(self._unfinished) > len(NAMES):
                del self._unfinished[next(iter(self._unfinished))]

    def _known(self, settings: Settings, gain: Gain | None) -> Remembered:
        told = None if gain is None else (gain.low, gain.middle, gain.high)
        return Remembered(self._observer.kind, tuple(self._signature.tolist()), settings, told, self._failures)

    def _without(self, settings: Settings, names: frozenset[str] | set[str]) -> dict[str, Value]:
        return {name: value for name, value in settings.items() if name not in names}

    def _tell(
        self,
        kind: str,
        text: str,
        before: Settings | None = None,
        after: Settings | None = None,
        *,
        seen: Mapping[str, str | float] | None = None,
        outcome: Mapping[str, float] | None = None,
    ) -> None:
        changed = sentences.changed(before or {}, after or {})
        self._journal.note(self.name, kind, text, seen=seen, changed=changed, outcome=outcome)


def _key(kind: str, settings: Settings) -> tuple[object, ...]:
    return (kind, *sorted(settings.items()))
