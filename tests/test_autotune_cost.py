"""What operations cost, and one stretch of time against another."""

from __future__ import annotations

import math

import pytest

from lyredb.autotune.cost import Spent, between, log_ratio


def times(nanoseconds: float, count: int) -> dict[tuple[float, float], int]:
    return {(nanoseconds, nanoseconds): count}


def test_a_window_is_the_difference_of_two_readings() -> None:
    earlier = {"get": (0, [(1.0, 2.0, 5), (2.0, 4.0, 1)]), "get_cold": (0, [(9.0, 9.0, 1)])}
    later = {"get": (0, [(1.0, 2.0, 5), (2.0, 4.0, 3), (4.0, 8.0, 1)]), "put": (0, []), "get_cold": (0, [])}
    assert between(earlier, later) == {"get": {(2.0, 4.0): 2, (4.0, 8.0): 1}}


def test_a_family_made_anew_says_nothing() -> None:
    assert between({"get": (0, [(1.0, 2.0, 5)])}, {"get": (0, [(1.0, 2.0, 3)])}) == {}


def test_the_cheaper_side_is_above_zero() -> None:
    usual, other = Spent({"get": times(120.0, 50)}), Spent({"get": times(100.0, 50)})
    assert log_ratio(usual, other) == pytest.approx(math.log(1.2))
    assert log_ratio(other, usual) == pytest.approx(-math.log(1.2))


def test_another_mix_is_no_other_cost() -> None:
    few_puts = Spent({"get": times(100.0, 90), "put": times(1000.0, 10)})
    many_puts = Spent({"get": times(100.0, 10), "put": times(1000.0, 90)})
    assert log_ratio(few_puts, many_puts) == pytest.approx(0.0)


def test_long_scans_are_compared_by_the_row() -> None:
    short = Spent({"scan": times(1e5, 10), "scan_row": times(50.0, 10)}, scans=160, rows=320_000)
    long = Spent({"scan": times(1e6, 10), "scan_row": times(50.0, 10)}, scans=160, rows=3_200_000)
    assert log_ratio(short, long) == pytest.approx(0.0)


def test_short_scans_are_compared_as_they_are() -> None:
    usual = Spent({"scan": times(2000.0, 10), "scan_row": times(500.0, 10)}, scans=160, rows=640)
    other = Spent({"scan": times(1000.0, 10), "scan_row": times(500.0, 10)}, scans=160, rows=640)
    assert log_ratio(usual, other) == pytest.approx(math.log(2.0))


def test_batches_are_compared_by_the_record() -> None:
    usual = Spent({"batch": times(1e4, 20)}, batches=320, records=3200)
    other = Spent({"batch": times(1e5, 20)}, batches=320, records=32_000)
    assert log_ratio(usual, other) == pytest.approx(0.0, abs=0.01)


def test_a_lonely_slow_sample_does_not_count_and_recurring_ones_do() -> None:
    calm = Spent({"get": times(100.0, 500)})
    once = Spent({"get": {**times(100.0, 499), **times(1e7, 1)}})
    often = Spent({"get": {**times(100.0, 480), **times(1e4, 20)}})
    once_ratio, often_ratio = log_ratio(calm, once), log_ratio(calm, often)
    assert once_ratio is not None
    assert once_ratio == pytest.approx(0.0, abs=0.02)
    assert often_ratio is not None
    assert often_ratio < -1.0


@pytest.mark.parametrize("few", [0, 1, 3])
def test_few_samples_say_nothing(few: int) -> None:
    assert log_ratio(Spent({"get": times(100.0, 50)}), Spent({"get": times(100.0, few)})) is None


def test_what_was_hardly_compared_is_not_compared() -> None:
    usual = Spent({"get": times(100.0, 50), "scan": times(1e6, 50)}, scans=800, rows=800)
    assert log_ratio(usual, Spent({"get": times(100.0, 50)})) is None


def test_stretches_add_up() -> None:
    both = Spent({"get": times(100.0, 5)}, scans=1, seconds=0.25) + Spent({"get": times(100.0, 7)}, rows=3, seconds=0.5)
    assert both == Spent({"get": times(100.0, 12)}, scans=1, rows=3, seconds=0.75)
    assert both.samples == 12
    assert both.nanoseconds == pytest.approx(12 * 256 * 100.0)
