"""What contests decide where there is nothing to decide, and what becomes of settings that are really bad.

That a program killed in a trial opens on the last good settings is a test: `tests/test_autotune.py`.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import lyredb
from lyredb.autotune import Decision, cost, windows
from lyredb.autotune.contest import Contest, Terms
from lyredb.autotune.cost import Spent
from lyredb.autotune.evaluation_text import Grid
from lyredb.autotune.judging import families
from lyredb.autotune.judging.circumstances import Circumstances, NotMeasured
from lyredb.autotune.judging.figures import Figure, Part, exactly, share
from lyredb.autotune.judging.turns import Program
from lyredb.autotune.kinds import KINDS
from lyredb.autotune.memory import Memory, Remembered, into_note
from lyredb.autotune.workloads import Oltp
from lyredb.presets import format_size, tunable

_FAMILY = "orders"
_SABOTAGED: Sequence[Mapping[str, int]] = ({"delta_records": 1}, {"leaf_bytes": 1 << 20})
# Contests as the tuner holds them: for what takes hold at once, and for what does so leaf by leaf.
_TERMS = (Terms(), Terms(length=2, settling=1))
_WAIT_SECONDS = 60.0


def judge(circumstances: Circumstances) -> Part:
    """Contests between equals, and sabotage."""
    contests = circumstances.amount(1_000, 200, 10)
    same = _same(circumstances, circumstances.amount(240, 80, 8), contests)
    gone = [_sabotage(circumstances, settings, f"sabotage-{at}") for at, settings in enumerate(_SABOTAGED)]
    columns = ("family", "contests", "better", "worse", "undecided")
    grids = [
        Grid("Contests of the default with itself, on windows of real work", columns, [
            (name, str(sum(found.values())), *(str(found[verdict]) for verdict in columns[2:]))
            for name, found in same.items()
        ]),
        Grid("Bad settings, recalled as if they had won before, for random reads and writes",
             ("setting", "pairs", "in force for", "what was decided"),
             [(each.named, each.shown_pairs, f"{each.seconds:.1f} s", each.text) for each in gone]),
    ]  # fmt: skip
    false = sum(found["better"] for found in same.values())
    count = sum(sum(found.values()) for found in same.values())
    figures = [Figure("false promotions, of contests of equals", share(false, count), 0.05, at_least=False, form=".1%")]
    figures += [
        Figure(f"pairs until {each.named} was taken back", exactly(each.pairs), 2.0, at_least=False, form=".0f")
        for each in gone
    ]
    details = {
        "contests": {name: dict(found) for name, found in same.items()},
        "sabotaged": [{"setting": each.named, "seconds": each.seconds, "decided": each.text} for each in gone],
    }
    return Part(figures, grids, details)


# --- equals


def _same(circumstances: Circumstances, count: int, contests: int) -> dict[str, Counter[str]]:
    """What contests of equals ended with, by family; each goes through the same windows from another one on."""
    seen = _windows(circumstances, count)
    random_numbers = random.Random(circumstances.seed)
    found: dict[str, Counter[str]] = {name: Counter() for name in seen}
    for number in range(contests):
        for name, spent in seen.items():
            terms = _TERMS[number % len(_TERMS)]
            found[name][_verdict(spent, terms, random_numbers)] += 1
    return found


def _verdict(spent: Sequence[Spent], terms: Terms, order: random.Random) -> str:
    contest, at = Contest(terms, order), order.randrange(len(spent))
    while contest.verdict is None:
        contest.took(spent[at % len(spent)])
        at += 1
    return contest.verdict


def _windows(circumstances: Circumstances, count: int) -> dict[str, list[Spent]]:
    """Windows of three families at work on the default, with nobody tuning."""
    work = families.workloads(circumstances.seed, circumstances.amount(200_000, 200_000, 20_000))
    found: dict[str, list[Spent]] = {name: [] for name in work}
    with (
        lyredb.open(circumstances.folder / "equals", durability="async") as database,
        Program(work, database) as program,
    ):
        engine = database._engine  # pyright: ignore[reportPrivateUsage]
        engine.sense()
        program.turn(windows.SECONDS)
        for number in range(count):
            before = engine.sense(), engine.timings()
            program.turn(windows.SECONDS)
            after = engine.sense(), engine.timings()
            for name, spent in found.items():
                spent.append(_spent(*(each[name] for each in (*before, *after))))
            circumstances.progress(number + 1, count)
    return found


def _spent(before: Any, timings_before: Any, after: Any, timings_after: Any) -> Spent:
    def grown(counter: str) -> float:
        return after.get(counter, 0.0) - before.get(counter, 0.0)

    return Spent(
        cost.between(timings_before, timings_after),
        scans=grown("scans"),
        rows=grown("rows_scanned"),
        batches=grown("batches"),
        records=grown("batch_records"),
        seconds=windows.SECONDS,
    )


# --- sabotage


@dataclass(frozen=True)
class _Gone:
    """How bad settings went. `pairs` is infinite if they did not."""

    named: str
    pairs: float
    seconds: float
    text: str

    @property
    def shown_pairs(self) -> str:
        return f"{self.pairs:.0f}" if math.isfinite(self.pairs) else "never"


def _sabotage(circumstances: Circumstances, settings: Mapping[str, int], folder: str) -> _Gone:
    """Makes the tuner believe that settings have won before for the work that it is going to see."""
    records = circumstances.amount(60_000, 60_000, 5_000)
    work = {_FAMILY: Oltp(seed=circumstances.seed, records=records, mix="a", exponent=0.0)}
    path = circumstances.folder / folder
    with lyredb.open(path, durability="async") as database, Program(work, database) as program:
        reader = windows.Windows(database._engine)  # pyright: ignore[reportPrivateUsage]
        seen: list[Any] = []
        for _ in range(8):
            program.turn(windows.SECONDS)
            seen.append(reader.take().get(_FAMILY))
        seen = [each for each in seen[2:] if each is not None]
        if not seen:
            raise NotMeasured("there was too little work to be seen")
        memory = Memory()
        memory.remember(Remembered(KINDS[0], tuple(np.mean(seen, axis=0).tolist()), settings, (0.1, 0.2, 0.3)))
        memory.in_force = None
        database._change_note(_FAMILY, lambda note: into_note(note, memory))  # pyright: ignore[reportPrivateUsage]
    with lyredb.open(path, durability="async", autotune=True) as database, Program(work, database) as program:
        end = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < end:
            program.turn(1.0)
            if (found := ended(database.autotune.history(_FAMILY))) is not None:
                break
        else:
            raise NotMeasured(f"the tuner did not try {settings} within {_WAIT_SECONDS:.0f} s")
    begun, last = found
    pairs = float(last.outcome.get("pairs", 0)) if last.kind in {"rollback", "rejected"} else math.inf
    named = ", ".join(
        f"{name} {format_size(value) if tunable(name).unit == 'bytes' else value}" for name, value in settings.items()
    )
    return _Gone(named, pairs, last.at - begun.at, last.text)


def ended(history: Sequence[Decision]) -> tuple[Decision, Decision] | None:
    """The decision that put the settings in force, and the one that ended it; None: none did yet.

    An alarm ends nothing: what is tried goes on when the work is recognised again.
    """
    begun: Decision | None = None
    for each in history:
        if each.kind == "recalled":
            begun = each
        elif begun is not None and each.kind in {"rollback", "rejected", "accepted", "undecided"}:
            return begun, each
    return None
