"""What the tuning of a family does, on an engine whose costs are known."""

from __future__ import annotations

from typing import Any

import pytest
from simulated_engine import Bench, Kept, SimulatedEngine

from lyredb.autotune.kinds import UNKNOWN


def scans_like_large_leaves(kind: str, settings: Any) -> float:
    large = settings["leaf_bytes"] >= 64 << 10
    return {"scan_row": 1 / 1.22 if large else 1.0, "put": 3.7 if large else 1.0}.get(kind, 1.0)


def puts_like_long_deltas(kind: str, settings: Any) -> float:
    return {"put": 0.7 if settings["delta_records"] >= 64 else 1.0}.get(kind, 1.0)


def bench(work: str, costs: Any, **options: Any) -> Bench:
    engine = SimulatedEngine()
    found = Bench(engine, **options)
    engine.families["orders"].costs = costs
    engine.families["orders"].work = work
    return found


def test_scans_get_large_leaves() -> None:
    on = bench("olap", scans_like_large_leaves)
    on.run(60)
    assert on.engine.families["orders"].layout == 128 << 10
    status = on.status()
    assert (status.kind, status.source, status.settings["leaf_bytes"]) == ("olap", "preset", 128 << 10)
    assert status.gain is not None
    assert 1.0 < status.gain[0] < 1.22 < status.gain[2]
    assert on.kinds()[:3] == ["recognised", "trial", "accepted"]
    accepted = on.journal.decisions()[2]
    assert accepted.changed["leaf_bytes"] == (8 << 10, 128 << 10)
    assert "8 KiB -> 128 KiB" in accepted.text
    assert accepted.outcome["pairs"] <= 12


def test_most_windows_go_to_the_side_in_the_lead() -> None:
    on = bench("olap", scans_like_large_leaves)
    large = 0
    for _ in range(30):
        large += on.engine.families["orders"].layout == 128 << 10
        on.run(1)
    assert large >= 17


def test_orders_get_longer_deltas_and_keep_their_leaves() -> None:
    on = bench("oltp", puts_like_long_deltas)
    on.run(120)
    assert on.status().settings == {"delta_records": 64}
    assert on.engine.families["orders"].layout == 8 << 10
    assert on.engine.reshapes == 0


def test_what_brings_nothing_is_not_kept() -> None:
    on = bench("oltp", lambda *_: 1.0)
    on.run(600)
    assert set(on.kinds()) <= {"recognised", "trial", "undecided", "rejected"}
    on.loop.rest()
    assert on.status().settings == {}


def test_a_change_of_work_puts_the_default_back_at_once() -> None:
    on = bench("oltp", puts_like_long_deltas)
    on.run(120)
    assert on.status().settings
    on.engine.families["orders"].work = "cache"
    windows = 0
    while on.status().settings:
        on.run(1)
        windows += 1
    assert windows <= 3
    on.run(1)
    assert "shift" in on.kinds()


def test_large_leaves_go_as_soon_as_it_is_written_to() -> None:
    on = bench("olap", scans_like_large_leaves)
    on.run(60)
    on.engine.families["orders"].work = "oltp"
    on.run(1)
    assert on.engine.families["orders"].layout == 8 << 10
    assert on.status().settings == {}


def test_work_that_comes_back_gets_at_once_what_won_before() -> None:
    on = bench("olap", scans_like_large_leaves)
    on.run(60)
    on.engine.families["orders"].work = "oltp"
    on.run(60)
    on.engine.families["orders"].work = "olap"
    on.run(4)
    assert on.engine.families["orders"].layout == 128 << 10
    assert "recalled" in on.kinds()
    on.run(40)
    assert on.status().source == "remembered"
    assert on.engine.families["orders"].layout == 128 << 10


def test_after_a_reopening_the_last_good_settings_are_there_from_the_first_window() -> None:
    kept = Kept()
    bench("olap", scans_like_large_leaves, kept=kept).run(60)
    engine = SimulatedEngine()
    engine.families["orders"].layout = 128 << 10
    again = Bench(engine, kept)
    assert engine.families["orders"].settings["leaf_bytes"] == 128 << 10
    assert again.kinds() == ["recalled"]
    engine.families["orders"].costs = scans_like_large_leaves
    engine.families["orders"].work = "olap"
    again.run(60)
    assert again.status().settings["leaf_bytes"] == 128 << 10
    assert "accepted" in again.kinds()


def test_what_the_user_set_stays() -> None:
    on = bench("olap", scans_like_large_leaves)
    on.engine.families["orders"].pinned = {"leaf_bytes": 16 << 10}
    on.engine.families["orders"].layout = 16 << 10
    on.run(100)
    assert "leaf_bytes" not in on.status().settings
    assert on.engine.families["orders"].layout == 16 << 10
    assert not any("leaf_bytes" in each.changed for each in on.journal.decisions())


def test_a_sabotaged_setting_goes_within_two_pairs() -> None:
    def sleeps(kind: str, settings: Any) -> float:
        return 1.3 if settings["delta_records"] != 16 else 1.0

    on = bench("oltp", sleeps)
    on.run(40)
    rejected = next(each for each in on.journal.decisions() if each.kind == "rejected")
    assert rejected.outcome["pairs"] <= 2
    assert on.status().settings == {}


def test_settings_that_fail_get_two_more_chances() -> None:
    on = bench("olap", lambda *_: 1.0)
    # At first something else on the machine makes them look bad.
    busy = [True]
    on.engine.families["orders"].costs = lambda kind, settings: (
        (1.2 if busy[0] else 0.8) if settings["leaf_bytes"] > 8 << 10 else 1.0
    )
    on.run(20)
    assert "rejected" in on.kinds()
    busy[0] = False
    on.run(200)
    assert on.status().settings["leaf_bytes"] == 128 << 10

    on = bench("oltp", lambda kind, settings: 1.2 if settings["delta_records"] > 16 else 1.0)
    on.run(600)
    assert on.kinds().count("rejected") == 3
    assert on.kinds().count("trial") == 3


def test_a_setting_that_turns_bad_is_found_by_the_sentinel() -> None:
    on = bench("oltp", puts_like_long_deltas)
    on.run(120)
    assert on.status().settings
    on.engine.families["orders"].costs = lambda kind, settings: 1.3 if settings["delta_records"] > 16 else 1.0
    windows = 0
    while "rollback" not in on.kinds():
        on.run(1)
        windows += 1
    assert windows < 60
    assert on.status().settings == {}


def test_what_windows_cannot_tell_is_not_tried() -> None:
    on = bench("cache", lambda *_: 1.0)
    on.run(40)
    assert on.status().kind == "cache"
    assert on.kinds() == ["recognised", "applied"]


def test_unknown_work_has_the_default() -> None:
    on = bench("oltp", puts_like_long_deltas)
    on.recogniser.kind = UNKNOWN
    on.run(60)
    assert on.status().kind == UNKNOWN
    assert on.status().settings == {}


def test_nothing_changes_while_frozen() -> None:
    on = bench("olap", scans_like_large_leaves)
    on.run(10, frozen=True)
    assert on.engine.families["orders"].layout == 8 << 10
    assert on.status().kind == "olap"
    assert "trial" not in on.kinds()
    on.run(60)
    assert on.status().settings["leaf_bytes"] == 128 << 10
    on.engine.families["orders"].work = "cache"
    on.run(10, frozen=True)
    assert on.engine.families["orders"].layout == 128 << 10
    assert on.status().kind == "cache"
    on.run(1)
    assert on.engine.families["orders"].layout == 8 << 10


def test_rolling_back_forgets() -> None:
    on = bench("olap", scans_like_large_leaves)
    on.run(60)
    on.loop.roll_back("orders")
    assert on.status().settings == {}
    assert on.engine.families["orders"].layout == 8 << 10
    assert on.kept.notes["orders"]["known"] == []


def test_families_are_tuned_apart() -> None:
    engine = SimulatedEngine("orders", "reports", "unused")
    on = Bench(engine)
    engine.families["orders"].work, engine.families["orders"].costs = "oltp", puts_like_long_deltas
    engine.families["reports"].work, engine.families["reports"].costs = "olap", scans_like_large_leaves
    on.run(200)
    assert on.status("orders").settings == {"delta_records": 64}
    assert engine.families["orders"].layout == 8 << 10
    assert on.status("reports").settings["leaf_bytes"] == 128 << 10
    assert "unused" not in on.loop.statuses()


def test_a_family_that_is_dropped_is_forgotten() -> None:
    on = bench("olap", scans_like_large_leaves)
    on.run(5)
    del on.engine.families["orders"]
    on.run(2)
    assert on.loop.statuses() == {}


def test_memory_grows_only_while_it_is_short() -> None:
    on = bench("oltp", lambda *_: 1.0)
    on.run(40)
    assert on.engine.database == {}
    for _ in range(20):
        on.engine.evictions += 10
        on.run(1)
    assert on.engine.database["memory_bytes"] > 1 << 30
    grown = on.engine.database["memory_bytes"]
    on.run(40)
    assert on.engine.database["memory_bytes"] == grown


@pytest.mark.parametrize("seed", range(3))
def test_refining_finds_what_no_preset_has(seed: int) -> None:
    def best_at_32(kind: str, settings: Any) -> float:
        return 0.8 if 24 <= settings["delta_records"] <= 48 else 1.0

    engine = SimulatedEngine(seed=seed, noise=0.02)
    on = Bench(engine, explore=True)
    engine.families["orders"].work, engine.families["orders"].costs = "oltp", best_at_32
    on.run(1200)
    assert on.status().settings.get("delta_records") == 32
    assert on.status().source == "refined"


@pytest.mark.parametrize("factor", [1.1, 1.3, 4.0])
@pytest.mark.parametrize("seed", range(2))
def test_five_seconds_are_never_much_worse_than_with_the_default(factor: float, seed: int) -> None:
    """Whatever is tried is worse here: every preset, and every step of the search."""

    def costs(kind: str, settings: Any) -> float:
        del kind
        return 1.0 if (settings["leaf_bytes"], settings["delta_records"]) == (8 << 10, 16) else factor

    engine = SimulatedEngine(seed=seed)
    on = Bench(engine, explore=True)
    family = engine.families["orders"]
    family.costs = costs
    done: list[float] = []
    for work in ("oltp", "olap", "oltp", "cache", "olap"):
        family.work = work
        for _ in range(120):
            done.append(1.0 / costs("", {**family.settings, "leaf_bytes": family.layout}))
            on.run(1)
    five_seconds = [sum(done[at : at + 20]) / 20 for at in range(len(done) - 20)]
    assert min(five_seconds) >= 0.9
    assert sum(done) / len(done) >= 0.97
