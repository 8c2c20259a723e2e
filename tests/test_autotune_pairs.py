"""Bounds on gains: how often they are wrong, and how soon they are right."""

from __future__ import annotations

import random

import pytest
from effort import scaled

from lyredb.autotune.contest import Contest, Terms
from lyredb.autotune.cost import Spent
from lyredb.autotune.pairs import BOUND, Pairs


def pairs_until_accepted(rng: random.Random, gain: float, noise: float, *, heavy: bool = False) -> int | None:
    pairs = Pairs()
    for number in range(1, 41):
        # Now and then a machine is busy with something else.
        wild = rng.gauss(0.0, 0.5) if heavy and rng.random() < 0.1 else 0.0
        pairs.add(rng.gauss(gain, noise) + wild)
        if pairs.gain.low > 0.0:
            return number
    return None


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_what_is_no_better_is_seldom_accepted(noise: float, heavy: bool) -> None:
    rng, tries = random.Random(11), scaled(200)
    accepted = sum(pairs_until_accepted(rng, 0.0, noise, heavy=heavy) is not None for _ in range(tries))
    assert accepted <= 0.05 * tries


def test_five_percent_are_found() -> None:
    rng, tries = random.Random(12), scaled(50)
    found = [pairs_until_accepted(rng, 0.05, 0.05) for _ in range(tries)]
    assert sum(each is not None for each in found) >= 0.9 * tries
    assert sorted(each or 99 for each in found)[tries // 2] <= 30


def test_much_is_found_soon() -> None:
    rng = random.Random(13)
    assert all((pairs_until_accepted(rng, 0.2, 0.05) or 99) <= 9 for _ in range(scaled(30)))


def test_intervals_hold_the_truth() -> None:
    rng, tries, missed = random.Random(14), scaled(100), 0
    for _ in range(tries):
        pairs, outside = Pairs(), False
        for _ in range(40):
            pairs.add(rng.gauss(0.06, 0.04))
            outside |= not pairs.gain.low <= 0.06 <= pairs.gain.high
        missed += outside
    assert missed <= 0.05 * tries


def test_nothing_is_known_of_no_pairs() -> None:
    gain = Pairs().gain
    assert (gain.low, gain.middle, gain.high) == (-BOUND, 0.0, BOUND)
    assert gain.ratios()[0] < 1.0 < gain.ratios()[2]


def spent(nanoseconds: float, count: int = 40) -> Spent:
    return Spent({"get": {(nanoseconds, nanoseconds + 1.0): count}}, seconds=0.25)


def held(contest: Contest, holder: float, challenger: float) -> int:
    """How many windows a contest takes whose sides always cost the same."""
    for window in range(1, 1000):
        contest.took(spent(holder if contest.side == "holder" else challenger))
        if contest.verdict is not None:
            return window
    raise AssertionError("it does not end")


def test_a_much_worse_side_loses_after_two_pairs() -> None:
    contest = Contest(Terms(), random.Random(1))
    assert held(contest, 100.0, 115.0) == 4
    assert contest.verdict == "worse"
    assert len(contest.pairs) == 2
    assert contest.lost_seconds == pytest.approx(2 * 0.15 * 0.25, rel=0.1)


def test_a_side_that_is_far_worse_loses_in_its_first_window() -> None:
    contest = Contest(Terms(settling=1, length=2), random.Random(1), usual=spent(100.0))
    windows = {"holder": 0, "challenger": 0}
    while contest.verdict is None:
        windows[contest.side] += 1
        contest.took(spent(100.0 if contest.side == "holder" else 300.0))
    assert contest.verdict == "worse"
    assert windows["challenger"] == 1


def test_a_better_side_wins_and_has_most_windows() -> None:
    contest, windows = Contest(Terms(), random.Random(2)), {"holder": 0, "challenger": 0}
    while contest.verdict is None:
        windows[contest.side] += 1
        contest.took(spent(120.0 if contest.side == "holder" else 100.0))
    assert contest.verdict == "better"
    assert windows["challenger"] > 2 * windows["holder"]


def test_alike_sides_end_undecided() -> None:
    contest = Contest(Terms(most_pairs=30), random.Random(3))
    held(contest, 100.0, 100.0)
    assert contest.verdict == "undecided"


def test_sides_take_turns_until_enough_was_timed() -> None:
    contest = Contest(Terms(), random.Random(4))
    contest.took(spent(100.0, 3))
    assert contest.took(spent(100.0, 3)) is None
    contest.took(spent(100.0, 3))
    assert contest.took(spent(100.0, 3)) == pytest.approx(0.0)


def test_the_order_of_the_sides_is_drawn() -> None:
    firsts = {Contest(Terms(), random.Random(seed)).side for seed in range(10)}
    assert firsts == {"holder", "challenger"}
