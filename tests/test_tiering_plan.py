"""Plans from curves, where it is known what is best."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from lyredb.tiering import Costs, Curves, Fixed, Hits, MissRatioCurve, Plan, Sizes, Split, Tiers, plan, what_if
from lyredb.tiering.plan import Model, divide
from lyredb.tiering.reach import Points

RECORDS = 60
"""In a leaf."""
SIZES = Sizes(image=8192, stored=2731, record=216)
COSTS = Costs(hot=0.5e-6, warm=12e-6, record=0.7e-6, cold=80e-6)


def zipf(random: np.random.Generator, records: int, accesses: int) -> np.ndarray:
    weights = 1 / np.arange(1, records + 1) ** 0.99
    ranks = np.searchsorted(np.cumsum(weights) / weights.sum(), random.random(accesses))
    return random.permutation(records)[ranks]


def uniform(random: np.random.Generator, records: int, accesses: int) -> np.ndarray:
    return random.integers(records, size=accesses)


def points(identities: np.ndarray, size: int) -> Points:
    curve = MissRatioCurve()
    identities = np.ascontiguousarray(identities, dtype=np.uint64)
    curve.access(identities, np.full(len(identities), size, dtype=np.uint64))
    # The same again: what comes for the first time is not what is asked.
    before = curve.accesses
    curve.decay(0.0)
    curve.access(identities, np.full(len(identities), size, dtype=np.uint64))
    assert curve.accesses == before
    return curve.points()


def reads(
    draw: Callable[[np.random.Generator, int, int], np.ndarray], *, records: int = 200_000, name: str = "default"
) -> Curves:
    keys = draw(np.random.default_rng(4), records, 400_000)
    return Curves(name, points(keys // RECORDS, int(SIZES.image)), points(keys, int(SIZES.record)), len(keys))


def footprint(records: int) -> int:
    return int(records / RECORDS * SIZES.image)


def shares(found: Plan) -> tuple[int, int]:
    return found.split.warm_permille, found.split.point_cache_permille


def adds_up(hits: Hits) -> bool:
    parts = (hits.hot, hits.warm, hits.record, hits.cold)
    return abs(sum(parts) - 1) < 1e-9 and min(parts) >= 0


def test_skewed_reads_of_much_data_get_a_point_cache() -> None:
    found = plan([reads(zipf)], COSTS, SIZES, footprint(200_000) // 20)
    warm, records = shares(found)
    assert records >= 500, found
    assert warm < records
    assert found.hits.record > 0.4
    assert adds_up(found.hits)


def test_uniform_reads_of_twice_the_memory_get_warm_leaves_that_hold_all() -> None:
    found = plan([reads(uniform)], COSTS, SIZES, footprint(200_000) // 2)
    warm, records = shares(found)
    assert warm >= 500, found
    assert records == 0
    assert found.hits.cold < 0.02
    assert found.hits.hot == pytest.approx(found.tiers.hot / footprint(200_000), abs=0.03)


def test_where_all_fits_all_is_hot() -> None:
    found = plan([reads(uniform)], COSTS, SIZES, footprint(200_000) * 11 // 10)
    assert shares(found) == (0, 0)
    assert found.hits.hot > 0.99


def test_a_family_that_is_only_scanned_leaves_the_other_its_point_cache() -> None:
    looped = np.tile(np.arange(200_000 // RECORDS), 4)
    scanned = Curves("scanned", points(looped, int(SIZES.image)), [(0, 1.0)], 200_000, point_reads=0.0)
    found = plan([reads(zipf), scanned], COSTS, SIZES, footprint(200_000) // 20)
    assert shares(found)[1] >= 400, found
    assert found.families["default"].record > 0.3
    assert found.families["scanned"].record == 0
    assert all(map(adds_up, found.families.values()))


def test_scans_alone_have_no_use_for_records() -> None:
    looped = np.tile(np.arange(200_000 // RECORDS), 4)
    scanned = Curves("scanned", points(looped, int(SIZES.image)), [(0, 1.0)], 1000, point_reads=0.0)
    found = plan([scanned], COSTS, SIZES, footprint(200_000) // 2)
    assert shares(found)[0] > 0, "compressed they all fit"
    assert shares(found)[1] == 0
    assert found.hits.cold < 0.05


def test_what_is_in_force_stays_until_something_is_clearly_better() -> None:
    curves, budget = [reads(zipf)], footprint(200_000) // 20
    best = plan(curves, COSTS, SIZES, budget)
    near = Split(best.split.warm_permille, best.split.point_cache_permille - 50)
    kept = plan(curves, COSTS, SIZES, budget, current=near)
    assert (kept.split, kept.replaces) == (near, False)
    assert best.cost <= kept.cost <= best.cost / 0.97
    replaced = plan(curves, COSTS, SIZES, budget, current=Split())
    assert (replaced.split, replaced.replaces) == (best.split, True)
    assert not plan(curves, COSTS, SIZES, budget, current=best.split).replaces


def test_more_memory_costs_less() -> None:
    present = plan([reads(zipf)], COSTS, SIZES, footprint(200_000) // 20)
    more = what_if(present)
    assert [each.budget for each in more] == [int(present.budget * factor) for factor in (1.1, 1.5, 2.0)]
    costs = [present.cost, *(each.cost for each in more)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < costs[0] * 0.9


def test_what_the_user_has_set_comes_first() -> None:
    fixed, budget = Fixed(warm=100_000, hot=50_000), footprint(200_000) // 20
    found = plan([reads(zipf)], COSTS, SIZES, budget, fixed=fixed)
    assert (found.tiers.warm, found.tiers.hot) == (100_000, 50_000)
    assert found.tiers.point_cache > 0
    assert divide(Split(500, 400), 1000, Sizes(overhead=200), Fixed()) == Tiers(80, 400, 320)
    assert divide(Split(500, 400), 1000, Sizes(overhead=2000), Fixed()) == Tiers(0, 0, 0)


def test_without_accesses_all_stays_hot() -> None:
    found = plan([], COSTS, SIZES, 1 << 20)
    assert shares(found) == (0, 0)
    assert what_if(found)[0].tiers.hot == int((1 << 20) * 1.1)


def test_a_shared_cache_holds_what_was_asked_for_lately() -> None:
    """Two families, one asked for three times as often, against a simulation of the cache they share."""
    random = np.random.default_rng(5)
    keys = np.where(random.random(300_000) < 0.75, random.integers(2000, size=300_000), 0)
    second = keys == 0
    keys[second] = 10_000 + random.integers(1000, size=second.sum())
    curves = [
        Curves("often", points(keys[~second], 8192), [(0, 1.0)], int((~second).sum())),
        Curves("seldom", points(keys[second], 8192), [(0, 1.0)], int(second.sum())),
    ]
    size = 1500
    expected = Model(curves, COSTS, SIZES).hits(Tiers(size * 8192, 0, 0))
    cache: dict[int, None] = {}
    hits = {False: 0, True: 0}
    for key, of_second in zip(keys.tolist(), second.tolist(), strict=True):
        if key in cache:
            del cache[key]
            hits[of_second] += 1
        elif len(cache) == size:
            del cache[next(iter(cache))]
        cache[key] = None
    assert expected["often"].hot == pytest.approx(hits[False] / (~second).sum(), abs=0.02)
    assert expected["seldom"].hot == pytest.approx(hits[True] / second.sum(), abs=0.02)


def test_a_plan_takes_little_time() -> None:
    curves = [reads(zipf, name=str(index)) for index in range(2)]
    started = time.perf_counter()
    plan(curves, COSTS, SIZES, footprint(200_000) // 10)
    assert time.perf_counter() - started < 0.5
