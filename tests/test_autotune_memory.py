"""Settings blended from presets, and those that are remembered."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lyredb import presets
from lyredb.autotune.blend import blend
from lyredb.autotune.features import FEATURES, NAMES
from lyredb.autotune.memory import Memory, Remembered, from_note, into_note
from lyredb.presets import Machine

MACHINE = Machine(16 << 30, 4)


def test_a_pure_kind_has_its_preset() -> None:
    assert blend({"olap": 1.0}, MACHINE) == {"leaf_bytes": 128 << 10, "codec": "lz4"}
    assert blend({"oltp": 0.97, "graph": 0.03}, MACHINE) == {"delta_records": 64}
    assert blend({"oltp": 1.0}, MACHINE, scope="database")["memory_bytes"] == int(0.4 * (16 << 10)) << 20


def test_numbers_are_blended_by_their_logarithms_and_choices_by_the_greatest_share() -> None:
    both = blend({"olap": 0.5, "oltp": 0.5}, MACHINE)
    assert both["leaf_bytes"] == 32 << 10
    assert both["delta_records"] == 32
    assert blend({"olap": 0.4, "oltp": 0.6}, MACHINE).get("codec") is None
    assert blend({"olap": 0.6, "oltp": 0.4}, MACHINE)["codec"] == "lz4"


def test_what_is_pinned_is_left_out() -> None:
    assert blend({"olap": 1.0}, MACHINE, without={"leaf_bytes"}) == {"codec": "lz4"}


def test_blends_are_always_settings_that_may_be_set() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        shares = rng.dirichlet(np.full(5, 0.5))
        for scope in ("family", "database"):
            kinds = dict(zip(("oltp", "olap", "cache", "timeseries", "graph"), shares.tolist(), strict=True))
            for name, value in blend(kinds, MACHINE, scope=scope).items():
                assert presets.tunable(name).tuner
                assert presets.tunable(name).refusal(value) is None


def vector(**features: float) -> tuple[float, ...]:
    return tuple(features.get(name, 0.0) for name in NAMES)


SCANS = Remembered(
    "olap", vector(scan_share=1.0, scan_rows=15.0, scanned_share=1.0), {"leaf_bytes": 1 << 17}, (0.1, 0.2, 0.3)
)
ORDERS = Remembered("oltp", vector(get_share=0.8, put_share=0.2, written_share=0.2, heat_entropy=1.0), {}, None)


def test_the_nearest_is_found_and_strangers_are_not() -> None:
    memory = Memory()
    memory.remember(SCANS)
    memory.remember(ORDERS)
    assert (
        memory.nearest(np.array(vector(scan_share=0.98, scan_rows=14.5, scanned_share=0.99, put_share=0.02))) == SCANS
    )
    assert memory.nearest(np.array(vector(get_share=0.75, put_share=0.25, heat_entropy=0.98))) == ORDERS
    assert memory.nearest(np.array(vector(append_share=1.0, put_share=1.0, scans_of_1=1.0, batch_records=9.0))) is None


def test_what_is_like_it_is_replaced_and_the_least_lately_used_goes() -> None:
    memory = Memory()
    for number in range(40):
        features = np.array([feature.high if number >> (at % 6) & 1 else 0.0 for at, feature in enumerate(FEATURES)])
        memory.remember(Remembered("oltp", tuple(features), {"delta_records": number + 17}, None))
    assert len(memory) <= 16
    memory = Memory()
    memory.remember(SCANS)
    memory.remember(Remembered("olap", SCANS.vector, {}, None))
    assert len(memory) == 1
    assert memory.in_force is None


def test_a_note_keeps_what_else_is_in_it() -> None:
    memory = Memory()
    memory.remember(ORDERS)
    memory.remember(SCANS)
    note = into_note('{"key": "tuple", "value": "json"}', memory)
    assert json.loads(note)["key"] == "tuple"
    again = from_note(note)
    assert again.as_dict() == memory.as_dict()
    assert again.in_force == SCANS
    assert from_note(None).in_force is None
    assert len(from_note('{"key": "tuple"}')) == 0
    assert len(note) < 1000


def test_what_this_version_cannot_use_is_left_out() -> None:
    memory = Memory()
    memory.remember(SCANS)
    told = memory.as_dict()
    told["known"][0]["settings"] = {"leaf_bytes": 5, "durability": "async", "group_interval_ms": 9, "delta_records": 32}
    assert Memory.of(told).nearest(np.array(SCANS.vector)).settings == {"delta_records": 32}  # type: ignore[union-attr]
    assert len(Memory.of({**told, "features": 1})) == 0


def test_forgetting() -> None:
    memory = Memory()
    memory.remember(SCANS)
    memory.remember(ORDERS)
    memory.forget(np.array(ORDERS.vector))
    assert len(memory) == 1
    memory.forget()
    assert len(memory) == 0


@pytest.mark.parametrize("settings", [{"leaf_bytes": 1 << 17, "codec": "lz4", "delta_records": 64}])
def test_a_full_memory_is_small(settings: dict[str, int | str]) -> None:
    memory, rng = Memory(), np.random.default_rng(3)
    while len(memory) < 16:
        features = rng.random(len(NAMES)) * [feature.high for feature in FEATURES]
        memory.remember(Remembered("timeseries", tuple(features), settings, (0.1234567890123, 0.2, 0.3)))
    assert len(into_note(None, memory)) < 8 << 10
