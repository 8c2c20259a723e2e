"""Presets: what their files say is what the engine takes, on any machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lyredb
from lyredb import presets
from lyredb.presets import machine, page
from lyredb.presets.preset import parse

MACHINES = [(256 << 20, 1), (2 << 30, 2), (16 << 30, 4), (512 << 30, 64), (24 << 40, 512)]
KINDS = ["oltp", "olap", "cache", "timeseries", "graph"]


def test_names() -> None:
    assert presets.names() == ["default", *KINDS]


@pytest.mark.parametrize("name", presets.names())
def test_every_file_is_read_and_told_about(name: str) -> None:
    preset = presets.load(name)
    assert preset.name == name
    assert preset.summary
    assert preset.whom.endswith(".")
    assert all(setting.why.endswith(".") for setting in preset.settings.values())


@pytest.mark.parametrize("name", presets.names())
@pytest.mark.parametrize(("memory_bytes", "cores"), MACHINES)
def test_values_are_in_range_on_small_and_large_machines(name: str, memory_bytes: int, cores: int) -> None:
    for key, value in presets.resolve(name, memory_bytes=memory_bytes, cores=cores).items():
        assert presets.tunable(key).refusal(value) is None


@pytest.mark.parametrize("name", presets.names())
def test_memory_stays_within_the_machine(name: str) -> None:
    for memory_bytes, cores in MACHINES:
        chosen = presets.resolve(name, memory_bytes=memory_bytes, cores=cores)["memory_bytes"]
        assert isinstance(chosen, int)
        assert chosen <= memory_bytes / 2


@pytest.mark.parametrize("name", KINDS)
def test_each_preset_differs_from_the_default_and_says_how(name: str) -> None:
    differences = presets.difference(name, memory_bytes=16 << 30, cores=4)
    assert differences
    values = presets.resolve(name, memory_bytes=16 << 30, cores=4)
    for each in differences:
        assert each.preset == values[each.tunable.name] != each.default


def test_the_default_does_not_differ_from_itself() -> None:
    assert presets.difference("default", memory_bytes=1 << 30, cores=1) == []


@pytest.mark.parametrize("name", presets.names())
def test_presets_set_nothing_that_a_program_can_observe(name: str) -> None:
    assert all(presets.tunable(key).tuner for key in presets.resolve(name))


@pytest.mark.parametrize("name", presets.names())
def test_presets_leave_the_tiers_of_memory_alone(name: str) -> None:
    """As the page of tunables says, and why."""
    tiers = {"hot_bytes", "warm_bytes", "point_cache_bytes", "warm_codec"}
    assert not presets.resolve(name).keys() & {*tiers, "replacement", "absent_filter", "readahead_bytes"}


def test_memory_scales() -> None:
    small = presets.resolve("olap", memory_bytes=4 << 30, cores=2)["memory_bytes"]
    assert small == 2 << 30
    assert presets.resolve("default", memory_bytes=64 << 30, cores=2)["memory_bytes"] == 1 << 30


@pytest.mark.parametrize("name", presets.names())
def test_opening_with_a_preset(name: str, path: Path) -> None:
    wanted = presets.resolve(name)
    with lyredb.open(path, preset=name) as db:
        db.family("a")
        found = {**db.settings(), **db.settings("a")}
        assert {key: found[key] for key in wanted} == wanted


def test_what_the_user_sets_goes_before_the_preset(path: Path) -> None:
    with lyredb.open(path, preset="olap", memory_bytes=8 << 20, leaf_bytes=2048) as db:
        assert db.settings()["memory_bytes"] == 8 << 20
        db.family("a")
        assert db.settings("a")["leaf_bytes"] == 2048


def test_a_preset_for_one_family_leaves_the_others_alone(db: lyredb.Database[Any, Any]) -> None:
    db.family("a")
    before = db.settings(), db.settings("a")
    db.family("events", preset="timeseries")
    wanted = {
        key: value for key, value in presets.resolve("timeseries").items() if presets.tunable(key).scope == "family"
    }
    assert {key: db.settings("events")[key] for key in wanted} == wanted
    assert (db.settings(), db.settings("a")) == before


def test_applying_a_preset_later(db: lyredb.Database[Any, Any]) -> None:
    db.family("a")
    db.apply_preset("graph", family="a")
    assert db.settings("a")["leaf_bytes"] == presets.resolve("graph")["leaf_bytes"]


def test_an_unknown_preset(path: Path) -> None:
    with pytest.raises(lyredb.ConfigError, match="did you mean 'olap'"):
        lyredb.open(path, preset="olapp")
    assert not path.exists()


HEAD = 'summary = "s"\nwhom = "w"\n[settings.leaf_bytes]\n'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("summary =", "not TOML"),
        ('summary = "s"\nwhom = "w"\nspeed = 9', "unknown entry 'speed'"),
        ('summary = "s"\nwhom = "w"\n[settings.leaf_size]\nvalue = 1', "no tunable 'leaf_size'.*leaf_bytes"),
        (HEAD + 'value = 1\nwhy = "w"', "1 is not between"),
        (HEAD + 'value = "some"\nwhy = "w"', "is not a size"),
        (HEAD + "value = 8192", "say why"),
        (HEAD + 'why = "w"', "must be one of"),
        (HEAD + 'value = 8192\nper_core = 8192\nwhy = "w"', "must be one of"),
        (HEAD + 'value = 8192\nat_least = 4096\nwhy = "w"', "needs no bounds"),
        (HEAD + 'value = 8192\nwhy = "w"\nwhen = "w"', "unknown entry 'when'"),
        ('summary = "s"\nwhom = "w"\n[settings.codec]\nvalue = "rar"\nwhy = "w"', "'rar' is not one of"),
        ('summary = "s"\nwhom = "w"\n[settings.group_interval_ms]\nvalue = 9\nwhy = "w"', "what a program can observe"),
    ],
)
def test_a_file_that_says_what_the_registry_does_not_allow(text: str, complaint: str) -> None:
    with pytest.raises((lyredb.ConfigError, ValueError), match=complaint):
        parse("trial", text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4096", 4096), ("8 KiB", 8192), ("64MiB", 64 << 20), ("1 gib", 1 << 30), (" 2 TiB ", 2 << 40), ("7 B", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert presets.parse_size(text) == size
    assert presets.parse_size(presets.format_size(size)) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1.5 GiB", "8 KB", "8 Ki B"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        presets.parse_size(text)


def test_the_machine_is_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, no_limit = tmp_path / "memory.max", tmp_path / "limit_in_bytes"
    limit.write_text(f"{64 << 20}\n")
    no_limit.write_text("max\n")
    monkeypatch.setattr(machine, "_LIMIT_FILES", (limit, no_limit, tmp_path / "absent"))
    assert presets.this_machine().memory_bytes == 64 << 20
    limit.write_text("max\n")
    assert presets.this_machine().memory_bytes > 64 << 20
    assert presets.this_machine().cores >= 1


def test_importing_lyredb_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys, lyredb; print(*{'click', 'rich', 'psutil', 'numpy', 'pyarrow', 'tomllib'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_a_value_that_stands_for_something_else_is_no_size() -> None:
    hot = next(each for each in presets.tunables() if each.name == "hot_bytes")
    assert (page.show(hot, hot.default), page.show_range(hot)) == ("-1", "-1 to 16 TiB")
