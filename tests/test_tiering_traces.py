"""Miss-ratio curves and replacement policies on traces of real caches."""

from __future__ import annotations

import bisect
import subprocess
import sys
from array import array

import numpy as np
import plain_caches
import pytest

from benches import replacement, traces
from lyredb import tiering

# The best hit ratio of LRU, ARC, SIEVE and S3-FIFO at 1 %, 5 % and 20 % of the keys, by libcachesim 0.3.5, as
# `python -m benches.replacement` finds it.
BEST_OF_PEERS = {
    "web12": (0.4096, 0.6479, 0.7814),
    "cloudphysics": (0.1725, 0.1886, 0.3337),
    "loop": (0.0, 0.0444, 0.1797),
    "sprite": (0.2127, 0.6706, 0.9221),
}
# What the adaptive policy is short of the best peer, where it is.
SHORT = {("cloudphysics", 0.01): 0.0005, ("sprite", 0.20): 0.0012}


@pytest.fixture(scope="module", params=traces.names())
def trace(request: pytest.FixtureRequest) -> tuple[str, array[int]]:
    return request.param, traces.load(request.param)


def sizes(keys: array[int]) -> list[int]:
    return [int(len(set(keys)) * share) for share in traces.SHARES]


def test_the_curve_of_the_samples_is_the_true_one(trace: tuple[str, array[int]]) -> None:
    _, keys = trace
    curve = tiering.MissRatioCurve()
    curve.access(keys)
    distances, accesses = plain_caches.exact_curve(keys)
    footprint = len(set(keys))
    errors = [
        abs(curve.miss_ratio(size) - (1 - bisect.bisect_right(distances, size) / accesses))
        for size in range(footprint // 200, footprint + 1, footprint // 200)
    ]
    assert sum(errors) / len(errors) < 0.02
    # Where a curve falls by a tenth at once, a sample knows the place to some percent only.
    assert sum(error > 0.02 for error in errors) < len(errors) / 10


def test_the_curve_of_all_keys_is_exact(trace: tuple[str, array[int]]) -> None:
    _, keys = trace
    curve = tiering.MissRatioCurve(most_samples=100_000)
    curve.access(keys)
    distances, accesses = plain_caches.exact_curve(keys)
    points = curve.points()
    assert points[0] == (0, 1.0)
    for size, ratio in points[1:]:
        assert ratio == pytest.approx(1 - bisect.bisect_right(distances, size) / accesses, abs=1e-9)


def test_the_adaptive_policy_is_at_least_as_good_as_the_best_of_others(trace: tuple[str, array[int]]) -> None:
    name, keys = trace
    for share, size, best in zip(traces.SHARES, sizes(keys), BEST_OF_PEERS[name], strict=True):
        ratio = tiering.simulate(keys, size) / len(keys)
        assert ratio >= best - SHORT.get((name, share), 0), f"{ratio:.4f} of {name} with {share:.0%} of its keys"


def test_the_adaptive_policy_beats_plain_recency_and_arc(trace: tuple[str, array[int]]) -> None:
    name, keys = trace
    for share, size in zip(traces.SHARES, sizes(keys), strict=True):
        hits = tiering.simulate(keys, size)
        others = max(plain_caches.lru(keys, size), plain_caches.arc(keys, size))
        assert hits / len(keys) >= others / len(keys) - SHORT.get((name, share), 0), (name, share)


def test_curves_and_caches_know_sizes() -> None:
    keys = np.tile(np.arange(100, dtype=np.uint64), 20)
    of_bytes = np.full(len(keys), 4096, dtype=np.int64)
    curve = tiering.MissRatioCurve()
    curve.access(keys, of_bytes)
    assert curve.miss_ratio(99 * 4096) == 1.0
    assert curve.miss_ratio(101 * 4096) == pytest.approx(1 / 20, abs=1e-9)
    assert (curve.accesses, curve.rate, curve.samples) == (2000, 1.0, 100)
    for policy in tiering.POLICIES:
        assert tiering.simulate(keys, 100 * 4096, policy, sizes=of_bytes) == 1900
        assert tiering.simulate(keys, 4095, policy, sizes=of_bytes) == 0


def test_a_curve_forgets_what_decays() -> None:
    curve = tiering.MissRatioCurve()
    curve.access(list(range(1000)) * 10)
    for _ in range(50):
        curve.decay(0.5)
        curve.access(list(range(100)))
    assert curve.miss_ratio(100) < 0.01
    with pytest.raises(ValueError, match="factor"):
        curve.decay(2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [1]), "2 identities and 1 sizes"),
        (([1], [0]), "a size must be from 1"),
        (([1], [1 << 32]), "a size must be from 1"),
        ((np.zeros(4, np.int32),), "integers of 64 bits"),
        ((np.zeros(4, np.float64),), "integers of 64 bits"),
        ((np.zeros(8, np.int64)[::2],), "contiguous"),
    ],
)
def test_traces_that_cannot_be_read_are_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiering.MissRatioCurve().access(*arguments)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="most_samples"):
        tiering.MissRatioCurve(most_samples=0)
    with pytest.raises(ValueError, match="rate"):
        tiering.MissRatioCurve(rate=0.0)
    with pytest.raises(ValueError, match="there are second_chance, sieve, s3fifo, adaptive"):
        tiering.simulate([1], 1, "fifo")


def test_the_package_is_imported_when_it_is_asked_for() -> None:
    program = "import sys, lyredb; sys.exit(any(name.startswith(('lyredb.tiering', 'numpy')) for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_benchmark_tells_who_is_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    for peer_hits, status in ((0, 0), (505_500, 1)):
        monkeypatch.setattr(replacement, "peer_hits", lambda name, keys, size, hits=peer_hits: hits)
        assert replacement.main(["--traces", "loop"], say=lines.append) == status
    assert "| loop | 1%: 10 | 0.00 | 0.00 | 0.00 | 0.00 | 0.00 | 0.00 | 0.89 | 0.89 | +0.89 |" in lines[0]
    assert "| loop | 100% | 0.0000 | 0.0000 |" in lines[2]
