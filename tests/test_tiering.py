"""`db.tiering`: plans of an open database."""

from __future__ import annotations

import gc
import io
import itertools
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import lyredb
from benches.waiting import wait_until
from lyredb import tiering
from lyredb.cli import main
from lyredb.tiering import evidence, explanation, manager, sample, trial

RECORDS = 60_000
MEMORY = 4 << 20


def key(number: int) -> bytes:
    return b"%016x" % (number * 0x9E3779B97F4A7C15 % (1 << 64))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of twelve times the memory that it is then opened with; half of what is in it compresses."""
    path = tmp_path_factory.mktemp("tiering") / "db"
    noise = random.Random(7)
    with lyredb.open(path) as db:
        db.write_batch({key(number): noise.randbytes(60) + b"." * 60 for number in range(RECORDS)})
    return path


@pytest.fixture
def short(folder: Path) -> Iterator[lyredb.Database[bytes, bytes]]:
    with lyredb.open(folder, memory_bytes=MEMORY, tiering=False) as db:
        yield db


def read(db: lyredb.Database[bytes, bytes], times: int, draw: Callable[[random.Random], int], seed: int = 1) -> None:
    chosen = random.Random(seed)
    for _ in range(times):
        assert db.get(key(draw(chosen))) is not None


def uniform(chosen: random.Random) -> int:
    return chosen.randrange(RECORDS)


def skewed(chosen: random.Random) -> int:
    """Nearly all of a thousand, each of them in a leaf of its own."""
    return chosen.randrange(1000) if chosen.random() < 0.95 else chosen.randrange(RECORDS)


def watchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lyredb-tiering"]


def test_nothing_is_imported_until_it_is_needed(path: Path) -> None:
    code = (
        "import sys, lyredb\n"
        f"db = lyredb.open({str(path)!r})\n"
        "db[b'a'] = b'b'\n"
        "print(*[name for name in sys.modules if name.startswith('lyredb.tiering')])\n"
        "db.tiering.status()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_gets_that_miss_count_once_in_the_curves(path: Path) -> None:
    """Of one leaf in sixteen, wherever it is in memory: many small ones, so that these have their share of the gets."""
    records, reads = 150_000, 40_000
    with lyredb.open(path, leaf_bytes=1024) as db:
        db.write_batch({key(number): b"." * 120 for number in range(records)})
    with lyredb.open(path, leaf_bytes=1024, memory_bytes=MEMORY, tiering=False) as db:
        read(db, reads, lambda chosen: chosen.randrange(records))
        db.tiering.plan_now()
        read(db, reads, lambda chosen: chosen.randrange(records), seed=2)
        (curve,) = db.tiering.curves()
    early = [ratio for size, ratio in curve.leaves if size < 100_000]
    # Counted twice, half of all would be of a leaf that was asked for just before.
    assert min(early) > 0.8, "no leaf is asked for twice in a row but by chance"
    # What was seen before the plan counts for half.
    assert reads <= curve.accesses <= 1.5 * reads
    assert curve.point_reads == 1.0


def test_the_curve_is_that_of_all_the_accesses(short: lyredb.Database[bytes, bytes]) -> None:
    """A thousand keys have 95 % of the reads: that is where the curve of records falls."""
    read(short, 5_000, uniform)
    short.tiering.plan_now()
    read(short, 100_000, skewed)
    (curve,) = short.tiering.curves()
    record = 120 + 100
    beyond = [ratio for size, ratio in curve.records if size > 2500 * record]
    assert beyond[0] == pytest.approx(0.05, abs=0.05)


def test_skewed_reads_get_a_point_cache(short: lyredb.Database[bytes, bytes]) -> None:
    read(short, 60_000, skewed)
    # As a disk would take, wherever these tests run.
    short.tiering._costs = tiering.Costs()
    plan = short.tiering.plan_now()
    assert plan.replaces
    assert plan.split.point_cache_permille > 0, plan
    status = short.tiering.status()
    assert (status.plans, status.looked, status.plan) == (1, 1, plan)
    before = short.stats().families["default"]
    read(short, 60_000, skewed, seed=2)
    after = short.stats().families["default"]
    assert int(after["gets_from_records"]) > int(before["gets_from_records"])
    assert short.tiering.status().answered["record"] > 1000


def test_what_the_user_sets_is_respected_and_said(folder: Path) -> None:
    with lyredb.open(folder, memory_bytes=MEMORY, tiering=False, warm_bytes=1 << 20) as db:
        read(db, 20_000, uniform)
        plan = db.tiering.plan_now()
        assert plan.fixed == tiering.Fixed(warm=1 << 20)
        assert plan.tiers.warm == 1 << 20
        assert "set by you" in db.tiering.explain()


PINNED = b"0"
"""What a sixteenth of the keys begin with."""


def test_what_is_pinned_stays_hot(short: lyredb.Database[bytes, bytes]) -> None:
    taken = short.tiering.pin(prefix=PINNED)
    assert RECORDS / 16 * 140 < taken < MEMORY / 2
    assert short.tiering.pins() == [manager.Pin("default", PINNED, taken)]
    assert "pinned: b'0' of default" in short.tiering.explain()
    mine = sorted(each for number in range(RECORDS) if (each := key(number)).startswith(PINNED))

    def loads() -> int:
        before = short.stats().families["default"]["page_loads"]
        for each in mine:
            assert each in short
        after = short.stats().families["default"]["page_loads"]
        return int(after) - int(before)

    read(short, 20_000, uniform)
    assert sum(1 for _ in short.scan()) == RECORDS
    assert loads() == 0
    # Also where a plan has the fewest hot leaves, and for whole new leaves.
    short.tiering._costs = tiering.Costs()
    assert short.tiering.plan_now().tiers.hot >= taken
    short._engine.plan_tiers(900, 0)
    read(short, 20_000, uniform, seed=2)
    assert loads() == 0
    assert short.stats().database["memory_used"] <= MEMORY * 1.05
    assert short.tiering.unpin(prefix=PINNED)
    assert not short.tiering.unpin(prefix=PINNED)
    assert short.tiering.pins() == []
    read(short, 20_000, uniform, seed=3)
    assert loads() > 0


def test_what_is_pinned_stays_hot_while_it_is_written(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    with lyredb.open(tmp_path / "copy", memory_bytes=MEMORY, tiering=False) as db:
        db.tiering.pin(prefix=b"00")
        # Splits them.
        db.write_batch({b"00" + b"%014x" % number: b"new" * 20 for number in range(3000)})
        read(db, 20_000, uniform)
        db.checkpoint()
        read(db, 20_000, uniform, seed=2)
        before = db.stats().families["default"]["page_loads"]
        assert sum(1 for each in range(3000) if b"00" + b"%014x" % each in db) == 3000
        assert db.stats().families["default"]["page_loads"] == before


def test_too_much_cannot_be_pinned(short: lyredb.Database[bytes, bytes]) -> None:
    with pytest.raises(lyredb.ConfigError, match="half"):
        short.tiering.pin(prefix=b"")
    assert short.tiering.pins() == []
    short.tiering.pin(prefix=b"0")
    with pytest.raises(lyredb.ConfigError, match="half"):
        for digit in b"123456789":
            short.tiering.pin(prefix=bytes([digit]))
    assert sum(pin.bytes for pin in short.tiering.pins()) <= MEMORY / 2
    with pytest.raises(lyredb.ConfigError, match="warm"):
        short.tiering.pin(prefix=b"", tier="warm")  # type: ignore[arg-type]
    with pytest.raises(lyredb.FamilyNotFoundError):
        short.tiering.pin(prefix=b"", family="none")


def test_pins_follow_their_family(path: Path) -> None:
    with lyredb.open(path, tiering=False) as db:
        for name in ("before", "other"):
            db.family(name)[b"ab"] = b"1"
        taken = db.tiering.pin(prefix=b"a", family="before")
        db.rename_family("before", "after")
        assert db.tiering.pins() == [manager.Pin("after", b"a", taken)]
        assert "of after" in db.tiering.explain()
        assert db.tiering.unpin(prefix=b"a", family="after")
        assert db.tiering.pins() == []
        for name in ("after", "other"):
            db.tiering.pin(prefix=b"a", family=name)
        db.drop_family("after")
        assert [pin.family for pin in db.tiering.pins()] == ["other"]
        db.family("after")
        assert not db.tiering.unpin(prefix=b"a", family="after"), "another family, which was never pinned"


def test_what_was_seen_follows_a_family(path: Path) -> None:
    with lyredb.open(path, memory_bytes=1 << 20, tiering=False) as db:
        family = db.family("before")
        family.write_batch({key(number): key(number) * 8 for number in range(20_000)})
        for number in range(20_000):
            assert family.get(key(number)) is not None
        db.tiering.plan_now()

        def accesses() -> dict[str, float]:
            return {each.name: each.accesses for each in db.tiering.curves()}

        before = accesses()["before"]
        assert before > 5_000, "half of those before the plan"
        db.rename_family("before", "after")
        assert accesses().get("after") == before


def test_explanations(short: lyredb.Database[bytes, bytes]) -> None:
    text = short.tiering.explain()
    assert "no plan was made yet" in text
    read(short, 20_000, uniform)
    short.tiering.plan_now()
    text = short.tiering.explain()
    for part in ("4 MiB", "hot", "warm", "point cache", "disk", "default", "+10%", "+50%", "+100%", "expected"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 100
    with io.StringIO() as narrow:
        Console(file=narrow, width=80).print(explanation.table(short.tiering.status()))
        assert "…" not in narrow.getvalue(), "no figure is cut off"
        assert max(map(len, narrow.getvalue().splitlines())) <= 80
    document = json.loads(json.dumps(short.tiering.status().as_dict()))
    assert document["budget"] == MEMORY
    assert document["plan"]["tiers"]["hot"] > 0
    assert len(document["outlook"]) == 3


def test_plans_are_made_when_memory_is_short(folder: Path) -> None:
    with lyredb.open(folder, memory_bytes=MEMORY) as db:
        assert len(watchers()) == 1
        read(db, 30_000, uniform)
        wait_until(lambda: db.tiering.status().looked > 0, "a plan is made")
    assert not watchers()


def test_no_plans_while_paused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(manager, "SECONDS", 0.0)
    with lyredb.open(folder, memory_bytes=MEMORY, tiering=False) as db:
        read(db, 30_000, uniform)
        db.tiering.pause()
        db.tiering.tend()
        assert db.tiering.status().paused
        assert db.tiering.status().looked == 0
        db.tiering.resume()
        db.tiering.tend()
        assert db.tiering.status().looked == 1


def test_the_thread_ends_with_the_database_even_if_it_is_only_dropped(path: Path) -> None:
    db = lyredb.open(path)
    assert len(watchers()) == 1
    del db
    gc.collect()
    wait_until(lambda: not watchers(), "the thread has ended")
    with lyredb.open(path, tiering=False):
        assert not watchers()
    with lyredb.open(path, read_only=True):
        assert not watchers()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_no_tiering_of_its_parent(path: Path) -> None:
    with lyredb.open(path) as db:
        assert db.tiering.status().plans == 0
        child = os.fork()
        if child == 0:
            try:
                db.tiering.status()
            except lyredb.ForkedError:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_closed_database_has_no_plan(path: Path) -> None:
    db = lyredb.open(path)
    found = db.tiering
    db.close()
    for use in (found.status, found.explain, found.curves, found.plan_now):
        with pytest.raises(lyredb.ClosedError):
            use()


def test_a_warning_when_the_machine_has_less(
    short: lyredb.Database[bytes, bytes], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Little:
        available = 1 << 20
        total = 1 << 30

    monkeypatch.setattr(psutil, "virtual_memory", lambda: Little)
    with caplog.at_level(logging.WARNING, logger="lyredb"):
        short.tiering.tend()
        short.tiering.tend()
    (record,) = caplog.records
    assert "memory_bytes is 4 MiB" in record.getMessage()


def test_costs_are_those_that_were_measured() -> None:
    def times(*rows: tuple[float, int]) -> lyredb.Histogram:
        buckets = tuple(lyredb.Bucket(seconds, seconds, count) for seconds, count in rows)
        return lyredb.Histogram("seconds", sum(seconds * count for seconds, count in rows), buckets)

    def stats(**histograms: Any) -> lyredb.Stats:
        return lyredb.Stats({}, {"default": {}}, {}, {"default": histograms})

    known = tiering.Costs(hot=1e-6, warm=2e-5, record=1.3e-6, cold=1e-4)
    seen = stats(get=times((3e-7, 500), (9e-5, 500)), get_warm=times(), get_cold=times((9e-5, 995), (1.0, 5)))
    found = evidence.costs(seen, known)
    assert found.hot == pytest.approx(3e-7)
    assert found.warm == known.warm, "there were none"
    assert found.cold == pytest.approx(9e-5), "without the few in which something else happened"
    cheap = evidence.costs(stats(get_cold=times((1e-5, 100))), known)
    assert cheap.warm == pytest.approx(6e-6), "a guess that lets warm leaves be tried"
    tried = evidence.costs(stats(get_cold=times((1e-5, 100)), get_warm=times((9e-6, 100))), cheap)
    assert (tried.warm, tried.warm_is_measured) == (pytest.approx(9e-6), True)
    assert evidence.costs(stats(get_cold=times((1e-5, 100))), tried).warm == pytest.approx(9e-6), "not tried again"
    later = stats(get=times((3e-7, 500), (9e-5, 600)), get_warm=times(), get_cold=times((9e-5, 1095), (1.0, 5)))
    assert evidence.since(later, seen).family_histograms["default"]["get_cold"].count == 100
    assert evidence.since(seen, later).family_histograms["default"]["get_cold"].count == 1000, "another family"


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["tiering", *map(str, arguments)], env={"COLUMNS": "100"})


def test_the_command_plans_and_draws(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "curves.png"
    done = command(folder, "--memory", "4MiB", "--seconds", "1", "--plot", picture)
    assert done.exit_code == 0, done.output
    for part in ("based on", f"all {RECORDS:,} keys", "point cache", "+100%", "misses of default", "100% ┤", "└──"):
        assert part in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    refused = command(folder, "--memory", "4MiB", "--seconds", "0.5", "--plot", tmp_path / "curves.txt")
    assert refused.exit_code == 3, refused.output


def test_the_command_follows_a_trace(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "keys.txt"
    trace.write_text("\n".join(key(number).decode() for number in range(3000)))
    done = command(folder, "--memory", "4MiB", "--seconds", "1", "--trace", trace, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["based_on"].endswith("of the trace's 3,000 keys")
    plan = found["plan"]
    assert plan["budget"] == MEMORY
    (curve,) = plan["curves"]
    assert curve["records"][-1][0] < 2 * 3000 * 220, "only so many records were asked for"
    empty = tmp_path / "none.txt"
    empty.write_text("")
    assert command(folder, "--trace", empty).exit_code == 3


def test_a_large_family_is_sampled_within_a_time(
    short: lyredb.Database[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "MOST_KEYS", 10_000)
    steps: list[tuple[int, int]] = []
    found = sample.take(short, short, lambda done, total: steps.append((done, total)))
    assert (found.keys, found.stride) == (list(short.keys())[::8], 8)
    assert str(found) == "7,500 keys, one in 8 of all"
    assert steps == sorted(steps)
    assert {total for _, total in steps} == {15_000}
    monkeypatch.setattr(sample, "WALK_SECONDS", 0.0)
    monkeypatch.setattr(sample, "MOST_JUMPS", 500)
    found = sample.take(short, short)
    assert found.stride is None
    assert "from all over" in str(found)
    assert 3_000 < len(found.keys) == len(set(found.keys)) <= 1 + 500 * (sample.KEYS_A_JUMP + 1)
    for digit in b"0123456789abcdef":
        part = sum(1 for each in found.keys if each[0] == digit) / len(found.keys)
        assert 1 / 48 < part < 1 / 6
    monkeypatch.setattr(sample, "JUMP_SECONDS", 0.0)
    assert 0 < len(sample.take(short, short).keys) <= sample.KEYS_A_JUMP * 200, "as much as the time allows"


@pytest.mark.parametrize(
    ("codec", "keys"),
    [
        ("int", [0, *range(10**9, 10**9 + 300), 2**40]),
        ("str", ["", "a", "a\0", "a\0\0", "a" * 20, *(f"user:{number:06}" for number in range(300)), "zebra"]),
        ("tuple", [("x", number, "y" * (number % 40)) for number in range(300)]),
        ("bytes", []),
        ("bytes", [b"alone"]),
    ],
)
def test_jumps_find_keys_however_they_lie(path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, keys: Any) -> None:
    monkeypatch.setattr(sample, "WALK_SECONDS", 0.0)
    with lyredb.open(path, tiering=False) as db:
        family = db.family("sampled", key=codec)
        family.write_batch(dict.fromkeys(keys, b"value"))
        found = sample.take(db, family)
        if len(keys) > 1:
            assert found.stride is None
        assert set(found.keys) <= set(keys)
        assert len(found.keys) == len(set(found.keys)) >= 0.9 * (len(keys) - 1)


def test_the_mixture_is_skewed() -> None:
    drawn = Counter(itertools.islice(trial.mixture(range(10_000)), 50_000))
    most = [count for _, count in drawn.most_common(100)]
    assert sum(most) == pytest.approx(50_000 * 0.8 * 0.5, rel=0.15), "half of what the law has in its first hundredth"
    assert len(drawn) > 8000
