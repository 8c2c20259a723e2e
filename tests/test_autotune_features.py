"""Feature vectors, of real workloads on the real engine."""

from __future__ import annotations

import math
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyredb.autotune import features

RECORDS = 20_000
OPERATIONS = 30_000


def key(number: int) -> bytes:
    return b"user%012d" % number


class Sensed:
    """Looks at a database as a tuner does."""

    def __init__(self, db: Any, family: str = "default") -> None:
        self.engine, self.family = db._engine, family
        self.last: features.Reading = self.engine.sense()[family]

    def window(self, work: Callable[[], object]) -> dict[str, float]:
        """The features of some work, by name."""
        work()
        now = self.engine.sense()[self.family]
        vector = features.vector(self.last, now)
        self.last = now
        assert np.isfinite(vector).all()
        assert all(0 <= value <= feature.high for value, feature in zip(vector, features.FEATURES, strict=True))
        return dict(zip(features.NAMES, map(float, vector), strict=True))


@pytest.fixture(name="numbers")
def fixture_numbers() -> random.Random:
    return random.Random(7)


def fill(db: Any, numbers: random.Random) -> None:
    db.write_batch((key(number), numbers.randbytes(100)) for number in range(RECORDS))


def zipf(numbers: random.Random, count: int) -> list[int]:
    """Popular keys are anywhere among the others."""
    weights = list(accumulate(1 / rank for rank in range(1, RECORDS + 1)))
    places = list(range(RECORDS))
    numbers.shuffle(places)
    return numbers.choices(places, cum_weights=weights, k=count)


def read(db: Any, keys: list[int]) -> None:
    for number in keys:
        assert db.get(key(number)) is not None


def test_skew_and_heat(db: Any, numbers: random.Random) -> None:
    fill(db, numbers)
    sensed = Sensed(db)
    alike = sensed.window(lambda: read(db, numbers.choices(range(RECORDS), k=OPERATIONS)))
    skewed = sensed.window(lambda: read(db, zipf(numbers, OPERATIONS)))
    hot = sensed.window(lambda: read(db, numbers.choices(range(RECORDS - 400, RECORDS), k=OPERATIONS)))
    assert (alike["get_share"], skewed["get_share"], hot["absent_share"]) == (1, 1, 0)
    assert alike["top_16_share"] < 0.02
    assert 0.2 < skewed["top_16_share"] < 0.6
    assert alike["top_128_share"] < 0.06
    assert skewed["top_128_share"] > 0.35
    assert skewed["distinct_share"] < alike["distinct_share"] - 0.1
    assert skewed["reuse_share"] > alike["reuse_share"] + 0.2
    assert hot["heat_entropy"] < 0.5
    assert alike["heat_entropy"] > 0.9
    assert hot["heat_top_share"] > 0.5
    assert alike["heat_top_share"] < 0.1
    assert max(alike["dependent_reads"], skewed["dependent_reads"], hot["dependent_reads"]) < 0.05
    assert math.isclose(alike["read_bytes"], math.log2(101))


def test_a_time_series(db: Any, numbers: random.Random) -> None:
    def append(moments: range) -> None:
        for moment in moments:
            db.put(struct.pack(">Q", moment), numbers.randbytes(24))
            if moment % 10 == 9:
                list(db.scan(struct.pack(">Q", max(0, moment - 60))))

    sensed = Sensed(db)
    sensed.window(lambda: append(range(OPERATIONS)))
    seen = sensed.window(lambda: append(range(OPERATIONS, 2 * OPERATIONS)))
    assert seen["append_share"] > 0.98
    assert (seen["overwrite_share"], seen["expiring_share"]) == (0, 0)
    assert seen["heat_end_share"] > 0.95
    assert 0.05 < seen["scan_share"] < 0.15
    assert (seen["scans_of_256"], seen["scan_rows"]) == (1, math.log2(1 + 61))
    assert seen["dependent_scans"] < 0.2


def test_a_series_in_batches(db: Any, numbers: random.Random) -> None:
    def append(batches: range) -> None:
        for batch in batches:
            moments = range(batch * 100, batch * 100 + 100)
            db.write_batch([(struct.pack(">Q", moment), numbers.randbytes(24)) for moment in moments])

    sensed = Sensed(db)
    sensed.window(lambda: append(range(100)))
    seen = sensed.window(lambda: append(range(100, 400)))
    assert seen["append_share"] > 0.98
    assert (seen["batch_share"], seen["batch_records"]) == (1, math.log2(101))


def test_series_beside_each_other(db: Any, numbers: random.Random) -> None:
    """Each grows behind its own last record, though others stand behind that."""

    def append(moments: range) -> None:
        for moment in moments:
            for host in range(20):
                db.put(b"host%02d %b" % (host, struct.pack(">Q", moment)), numbers.randbytes(24))

    def scatter() -> None:
        for number in numbers.sample(range(RECORDS * 10), k=RECORDS):
            db.put(key(number), b"")
            db.put(numbers.randbytes(12), b"")

    sensed = Sensed(db)
    sensed.window(lambda: append(range(1_000)))
    assert sensed.window(lambda: append(range(1_000, 2_000)))["append_share"] > 0.9
    sensed.window(scatter)
    scattered = sensed.window(scatter)
    assert scattered["append_share"] < 0.06
    assert scattered["overwrite_share"] < 0.2


def test_a_cache(db: Any, numbers: random.Random) -> None:
    def work() -> None:
        for number in zipf(numbers, OPERATIONS):
            if numbers.random() < 0.3:
                db.put(key(number), numbers.randbytes(100), ttl=60)
            else:
                db.get(key(number))

    fill(db, numbers)
    sensed = Sensed(db)
    seen = sensed.window(work)
    assert (seen["overwrite_share"], seen["append_share"], seen["expiring_share"]) == (1, 0, 1)
    assert 0.25 < seen["put_share"] < 0.35
    assert seen["top_16_share"] > 0.15
    assert seen["dependent_reads"] < 0.05


@pytest.mark.parametrize("spelling", ["text", "packed", "decimal"])
def test_hops_in_a_graph(db: Any, numbers: random.Random, spelling: str) -> None:
    """Values name the keys of others: as they are, as packed numbers, or as decimal ones with keys of codec "int"."""
    nodes = range(1_000, 11_000)
    neighbours = {node: numbers.choices(nodes, k=8) for node in nodes}
    codec = "str" if spelling == "text" else "int"
    family: Any = db.family("nodes", key=codec, value="bytes")

    def name(node: int) -> str | int:
        return f"node:{node}" if spelling == "text" else node

    def value(around: list[int]) -> bytes:
        if spelling == "packed":
            return struct.pack("<8i", *around)
        return repr([name(node) for node in around]).encode()

    def hop() -> None:
        node = nodes[0]
        for step in range(OPERATIONS):
            assert family.get(name(node)) is not None
            node = numbers.choice(nodes) if step % 6 == 0 else numbers.choice(neighbours[node])

    def jump() -> None:
        for node in numbers.choices(nodes, k=OPERATIONS):
            assert family.get(name(node)) is not None

    family.write_batch((name(node), value(around)) for node, around in neighbours.items())
    sensed = Sensed(db, "nodes")
    hops, jumps = sensed.window(hop), sensed.window(jump)
    assert hops["dependent_reads"] > 0.6
    assert jumps["dependent_reads"] < 0.06


def test_hops_by_scans(db: Any, numbers: random.Random) -> None:
    """Edges are keys, as in the demo."""
    names = [b"%03d" % number for number in range(400)]
    edges = {name: numbers.choices(names, k=5) for name in names}
    db.write_batch({b"2013-07-04 %b %b UA" % (name, to): b"" for name, around in edges.items() for to in around})

    def work(dependent: bool) -> None:
        at = names[0]
        for _ in range(3_000):
            list(db.scan(prefix=b"2013-07-04 %b " % at).keys())
            at = numbers.choice(edges[at] if dependent else names)

    sensed = Sensed(db)
    hops, jumps = sensed.window(lambda: work(True)), sensed.window(lambda: work(False))
    assert hops["dependent_scans"] > jumps["dependent_scans"] + 0.2
    assert hops["scan_share"] == jumps["scan_share"] == 1


def test_load_does_not_matter(db: Any, numbers: random.Random) -> None:
    fill(db, numbers)
    sensed = Sensed(db)

    def work(times: int) -> None:
        for number in zipf(numbers, times * 2_000):
            if number % 4:
                db.get(key(number))
            else:
                db.put(key(number), b"x" * 100)

    sensed.window(lambda: work(4))
    some, more = sensed.window(lambda: work(4)), sensed.window(lambda: work(40))
    for feature in features.FEATURES:
        if feature.unit == "share" and not feature.name.startswith("reuse"):
            assert abs(some[feature.name] - more[feature.name]) < 0.2, feature.name


def test_nothing_happened(db: Any) -> None:
    sensed = Sensed(db)
    assert set(sensed.window(lambda: None).values()) == {0.0}
    assert features.operations(sensed.last, sensed.engine.sense()["default"]) == 0
    assert set(features.vector({}, {})) == {0.0}


def test_every_figure_of_the_sketch_is_there(db: Any) -> None:
    figures = db._engine.sense()["default"]
    sketched = {name for name in features.NAMES if name in figures and not name.startswith(("batch_", "scans_"))}
    assert {"top_16_share", "distinct_share", "reuse_share", "heat_entropy", "heat_end_share"} <= sketched
    counters = db.stats().families["default"]
    assert {name for name in counters if name not in figures} == {"consolidations", "splits", "merges"}


@given(st.data())
def test_any_two_readings_give_a_vector_in_range(data: st.DataObject) -> None:
    names = ["gets_found", "gets_absent", "puts", "batches", "batch_records", "scans", "rows_scanned", "bytes_read"]
    names += ["bytes_written", "scans_of_16", "writes_sampled", "appends_sampled", "reads_asked", "reads_dependent"]
    numbers = st.floats(0, 2**53)
    readings = st.dictionaries(st.sampled_from(names), numbers)
    vector = features.vector(data.draw(readings), data.draw(readings))
    assert np.isfinite(vector).all()
    assert all(0 <= value <= feature.high for value, feature in zip(vector, features.FEATURES, strict=True))


def test_numpy_comes_with_autotune_only() -> None:
    asked = "import sys, lyredb; print('numpy' in sys.modules, 'lyredb.autotune' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]
