"""Salvage of a damaged database, and what checks tell of damage."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import lyredb
from lyredb.cli import main

PAGES = "pages.lyre"
LEAF, INNER, CATALOGUE, BLOB = 1, 2, 3, 4


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(each) for each in arguments], prog_name="lyredb")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def shop(path: Path) -> Path:
    with lyredb.open(path, leaf_bytes=1024) as db:
        db.write_batch({b"%06d" % number: os.urandom(100) for number in range(3000)})
        orders = db.family("orders", key="tuple", value="json", codec="lz4")
        orders["2013-01-01", 1] = {"item": "lyre"}
        db.family("long")[b"score"] = os.urandom(20_000)
    return path


def pages(folder: Path, kind: int) -> list[int]:
    """Where pages of this kind begin."""
    data = (folder / PAGES).read_bytes()
    starts = range(8192, len(data) - 16, 64)
    return [at for at in starts if data[at] == 0xD7 and data[at + 1] == kind and data[at + 3] == 1]


def damage(file: Path, at: int, count: int = 1) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        was = opened.read(count)
        opened.seek(at)
        opened.write(bytes(byte ^ 0xFF for byte in was))


def content(folder: Path) -> dict[str, dict[Any, Any]]:
    with lyredb.open(folder, create=False) as db:
        assert db.check().ok
        return {name: dict(db.existing_family(name).scan()) for name in db.families()}


def test_a_sound_database_is_saved_whole(shop: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = lyredb.salvage(shop, tmp_path / "saved", progress=lambda done, total: seen.append((done, total)))
    assert report.ok
    assert {name: family.records for name, family in report.families.items()} == {
        "default": 3000,
        "long": 1,
        "orders": 1,
    }
    assert seen[-1][0] == seen[-1][1] > 0
    assert content(tmp_path / "saved") == content(shop)
    with lyredb.open(tmp_path / "saved") as db:
        assert db.pinned("orders") == ["codec"]
        assert db.family("orders", key="tuple", value="json")["2013-01-01", 1] == {"item": "lyre"}


def test_a_damaged_leaf_costs_its_records_only(shop: Path, tmp_path: Path) -> None:
    whole = content(shop)
    before = (shop / PAGES).read_bytes()
    at = pages(shop, LEAF)[100]
    damage(shop / PAGES, at + 40)
    damaged = (shop / PAGES).read_bytes()
    assert damaged != before
    with lyredb.open(shop, read_only=True) as db:
        [problem] = db.check().problems
        assert (problem.offset, problem.family) == (at, "default")
        assert problem.start is not None
        assert problem.stop is not None
        with pytest.raises(lyredb.CorruptionError, match="salvage") as raised:
            db[problem.start + b"0"]
        assert raised.value.offset == at
    report = lyredb.salvage(shop, tmp_path / "saved")
    assert not report.ok
    saved = content(tmp_path / "saved")
    lost = {key for key in whole["default"] if problem.start <= key < problem.stop}
    assert 0 < len(lost) < 20
    assert report.families["default"].lost_records == len(lost)
    assert saved["default"] == {key: value for key, value in whole["default"].items() if key not in lost}
    assert saved["orders"] == whole["orders"]
    assert (shop / PAGES).read_bytes() == damaged


def test_a_long_value_that_is_lost_is_named(shop: Path, tmp_path: Path) -> None:
    damage(shop / PAGES, pages(shop, BLOB)[0] + 5000)
    report = lyredb.salvage(shop, tmp_path / "saved")
    assert report.lost_values == [("long", b"score")]
    result = run("check", shop)
    assert result.exit_code == 1
    assert "family long, key score)" in result.stdout
    assert "lyredb salvage" in result.stdout


@pytest.mark.parametrize("kind", [INNER, CATALOGUE])
def test_a_database_that_does_not_open_is_saved(shop: Path, tmp_path: Path, kind: int) -> None:
    whole = content(shop)
    damage(shop / PAGES, pages(shop, kind)[-1] + 8)
    with pytest.raises(lyredb.CorruptionError):
        lyredb.open(shop)
    result = run("check", shop)
    assert result.exit_code == 1
    assert "cannot be opened" in result.stdout
    assert "lyredb salvage" in result.stdout
    assert not json.loads(run("check", shop, "--json").stdout)["ok"]
    report = lyredb.salvage(shop, tmp_path / "saved")
    assert content(tmp_path / "saved") == whole
    assert report.ok
    assert report.problems


def test_the_beginning_destroyed(shop: Path, tmp_path: Path) -> None:
    whole = content(shop)
    damage(shop / PAGES, 0, 8192)
    with pytest.raises(lyredb.CorruptionError, match="beginning is destroyed"):
        lyredb.open(shop)
    report = lyredb.salvage(shop, tmp_path / "saved")
    assert not report.ok
    saved = content(tmp_path / "saved")
    assert all(saved[name].items() <= whole[name].items() for name in saved)


def test_the_page_file_missing(path: Path, tmp_path: Path) -> None:
    writer = lyredb.open(path, durability="sync")
    writer[b"a"] = b"1"
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in path.glob("log-*"):
        (copy / file.name).write_bytes(file.read_bytes())
    writer.close()
    with pytest.raises(lyredb.CorruptionError, match="page file is missing"):
        lyredb.open(copy)
    assert not lyredb.salvage(copy, tmp_path / "saved").ok
    assert content(tmp_path / "saved") == {"default": {b"a": b"1"}}


def test_the_command(shop: Path, tmp_path: Path) -> None:
    result = run("salvage", shop, tmp_path / "whole")
    assert result.exit_code == 0, result.output
    assert "all was saved" in result.stdout
    damage(shop / PAGES, pages(shop, LEAF)[100] + 40)
    result = run("salvage", shop, tmp_path / "saved")
    assert result.exit_code == 1
    assert "family default, keys from 0" in result.stdout
    found = json.loads(run("salvage", shop, tmp_path / "again", "--all", "--json").stdout)
    assert found["families"]["default"]["lost_records"] > 0
    assert not found["ok"]


def test_wrong_places(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        lyredb.salvage(tmp_path / "nowhere", tmp_path / "saved")
    (tmp_path / "file").write_text("text")
    with pytest.raises(lyredb.NotADatabaseError):
        lyredb.salvage(tmp_path / "file", tmp_path / "saved")
    (tmp_path / "empty").mkdir()
    with pytest.raises(lyredb.NotADatabaseError):
        lyredb.salvage(tmp_path / "empty", tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("text")
    with pytest.raises(lyredb.NotADatabaseError):
        lyredb.salvage(shop, tmp_path / "full")
    assert [each.name for each in (tmp_path / "full").iterdir()] == ["mine"]
    assert run("salvage", shop, tmp_path / "full").exit_code == 3


def test_a_database_in_use(shop: Path, tmp_path: Path) -> None:
    with lyredb.open(shop), pytest.raises(lyredb.LockedError):
        lyredb.salvage(shop, tmp_path / "saved")
    with lyredb.open(shop, read_only=True):
        assert lyredb.salvage(shop, tmp_path / "saved").ok


def test_interrupted(shop: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lyredb.salvage(shop, tmp_path / "saved", progress=stop)
    assert list((tmp_path / "saved").iterdir()) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a limit on the length of files, as no disk is full")
def test_no_space(shop: Path, tmp_path: Path) -> None:
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            lyredb.salvage(shop, tmp_path / "saved")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list((tmp_path / "saved").iterdir()) == []
