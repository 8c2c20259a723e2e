"""The `lyredb` command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import lyredb
from lyredb import presets
from lyredb.cli import main

# Those of a group are two words.
COMMANDS = [
    f"{name} {inner}".strip()
    for name, command in sorted(main.commands.items())
    for inner in sorted(getattr(command, "commands", [""]))
]


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(each) for each in arguments], prog_name="lyredb")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def answer(*arguments: str | Path) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def shop(path: Path) -> Path:
    with lyredb.open(path) as db:
        db.write_batch({b"a": b"1", b"b": b"zwei", b"c\xff": b"\x00\xfe"})
        orders = db.family("orders", key="tuple", value="json")
        orders["2013-01-01", 1] = {"item": "lyre"}
        orders["2013-01-02", 2] = {"item": "harp"}
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_worth_reading_and_json_is_everywhere(command: str) -> None:
    text = run(*command.split(), "--help").stdout
    assert "--json" in text
    assert len(text) > 150


def test_the_module_is_the_command(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "lyredb", "--version"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert lyredb.__version__ in found.stdout


def test_tunables() -> None:
    text = run("tunables").stdout
    rows = answer("tunables")
    assert [row["name"] for row in rows] == [each.name for each in presets.tunables()]
    assert all(row["name"] in text for row in rows)
    assert run("tunables", "--markdown").stdout.startswith("# Tunables")


def test_presets() -> None:
    assert [row["name"] for row in answer("presets")] == presets.names()
    assert all(name in run("presets").stdout for name in presets.names())


def test_a_preset_and_how_it_differs() -> None:
    found = answer("presets", "olap", "--memory", "16 GiB", "--cores", "4")
    assert found["settings"] == presets.resolve("olap", memory_bytes=16 << 30, cores=4)
    assert found["differences"]["memory_bytes"] == {"default": 1 << 30, "preset": 8 << 30}
    text = run("presets", "olap", "--memory", "16 GiB", "--cores", "4").stdout
    assert "1 GiB" in text
    assert "8 GiB" in text
    assert run("presets", "default").exit_code == 0


def test_a_wrong_preset_or_size() -> None:
    result = run("presets", "olapp")
    assert result.exit_code == 3
    assert result.stderr == "lyredb: there is no preset 'olapp'\n  what to do: did you mean 'olap'?\n"
    assert run("presets", "olap", "--memory", "much").exit_code == 2


def test_stats(shop: Path) -> None:
    found = answer("stats", shop)
    assert set(found["families"]) == {"default", "orders"}
    assert "leaf_bytes" in found["settings"]["orders"]
    assert found["family_histograms"]["orders"]["get"] == {"unit": "seconds", "total": 0.0, "buckets": []}
    shown = run("stats", shop).stdout
    assert "family orders" in shown
    assert "p99" not in shown


def test_stats_show_quantiles_of_what_was_measured(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with lyredb.open(shop) as db:
        db[b"a"] = b"2"
        db.sync()
        assert len(list(db.scan(limit=3))) == 3
        measured = db.stats()
    monkeypatch.setattr(lyredb.Database, "stats", lambda _: measured)
    lines = [line.split() for line in run("stats", shop).stdout.splitlines()]
    assert ["unit", "measured", "mean", "p50", "p99", "p99.9"] in lines
    assert ["scan_length", "rows", "1", "3", "3", "3", "3"] in lines
    assert any(line[:3] == ["log_sync", "seconds", "1"] for line in lines)
    bucket = {"low": 3, "high": 3, "count": 1}
    found = answer("stats", shop)["family_histograms"]["default"]["scan_length"]
    assert found == {"unit": "rows", "total": 3, "buckets": [bucket]}


def test_check(shop: Path) -> None:
    found = answer("check", shop)
    assert found["ok"]
    assert found["records"] == 5
    assert found["problems"] == []
    assert "sound" in run("check", shop).stdout


def test_check_tells_of_damage(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = lyredb.Problem(path="pages", offset=4096, family="orders", what="the checksum is wrong")
    report = lyredb.CheckReport(families=1, pages=2, records=3, bytes=4096, problems=[problem])
    monkeypatch.setattr(lyredb.Database, "check", lambda self, *, progress=None: report)
    result = run("check", shop)
    assert result.exit_code == 1
    assert "pages at byte 4096: the checksum is wrong (family orders)" in result.stdout
    assert ": 1 problem; " in result.stdout


@pytest.mark.parametrize(
    ("start", "stop", "shown"),
    [
        (b"", None, "keys from the first to the last"),
        (b"a", b"b", "keys from a to before b"),
        (b"a", b"a\x00", "key a"),
        (b"B\x02\xfd", b"B\x03\n", "keys from 0x4202fd to before 0x42030a"),
        (b"", b"B\x03\n", "keys from the first to before 0x42030a"),
    ],
)
def test_the_bounds_of_damage_are_told_in_one_form(
    shop: Path, monkeypatch: pytest.MonkeyPatch, start: bytes, stop: bytes | None, shown: str
) -> None:
    problem = lyredb.Problem(path="pages", offset=0, family="orders", what="wrong", start=start, stop=stop)
    report = lyredb.CheckReport(families=1, pages=2, records=3, bytes=4096, problems=[problem])
    monkeypatch.setattr(lyredb.Database, "check", lambda self, *, progress=None: report)
    assert f"pages at byte 0: wrong (family orders, {shown})" in run("check", shop).stdout


def test_compact_and_backup(shop: Path, tmp_path: Path) -> None:
    assert answer("compact", shop)["bytes_after"] > 0
    assert "now" in run("compact", shop).stdout
    copy = tmp_path / "copy"
    assert answer("backup", shop, copy)["bytes"] > 0
    assert answer("check", copy)["records"] == 5
    assert run("backup", shop, copy).exit_code == 3


def test_get(shop: Path) -> None:
    assert run("get", shop, "a").stdout == "1\n"
    assert answer("get", shop, "b") == {"key": "b", "value": "zwei"}
    assert json.loads(run("get", shop, '["2013-01-01", 1]', "-f", "orders").stdout) == {"item": "lyre"}
    missing = run("get", shop, "z")
    assert missing.exit_code == 1
    assert missing.stdout == ""
    assert "no key 'z'" in missing.stderr


def test_put_and_delete(shop: Path) -> None:
    assert run("put", shop, "new", "value").exit_code == 0
    assert run("get", shop, "new").stdout == "value\n"
    assert run("put", shop, '["x", 3]', '{"item": "drum"}', "--family", "orders").exit_code == 0
    assert answer("get", shop, '["x", 3]', "--family", "orders")["value"] == {"item": "drum"}
    assert answer("delete", shop, "new") == {"key": "new", "deleted": True}
    assert run("delete", shop, "new").exit_code == 1


def test_put_with_expiry(shop: Path) -> None:
    assert run("put", shop, "brief", "value", "--ttl", "1000").exit_code == 0
    with lyredb.open(shop) as db:
        assert 0 < (db.time_to_live(b"brief") or 0) <= 1000


def test_scan(shop: Path) -> None:
    assert run("scan", shop).stdout == "a  1\nb  zwei\n0x63ff  0x00fe\n"
    rows = [json.loads(line) for line in run("scan", shop, "--json", "--reverse").stdout.splitlines()]
    assert [row["key"] for row in rows] == [{"hex": "63ff"}, "b", "a"]
    assert run("scan", shop, "--start", "b", "--limit", "1").stdout == "b  zwei\n"
    assert run("scan", shop, "--prefix", "a").stdout == "a  1\n"
    rows = [
        json.loads(line)
        for line in run("scan", shop, "--json", "--prefix", '["2013-01-02"]', "-f", "orders").stdout.splitlines()
    ]
    assert rows == [{"key": ["2013-01-02", 2], "value": {"item": "harp"}}]


@pytest.mark.parametrize("command", ["stats", "check", "compact"])
def test_no_database_is_made_where_there_is_none(command: str, tmp_path: Path) -> None:
    result = run(command, tmp_path / "nowhere")
    assert result.exit_code == 3
    assert result.stderr.startswith("lyredb: ")
    assert "nowhere" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_database_in_use(shop: Path) -> None:
    with lyredb.open(shop):
        result = run("get", shop, "a")
    assert result.exit_code == 3
    assert "what to do:" in result.stderr


def test_a_family_that_is_not_there(shop: Path) -> None:
    result = run("scan", shop, "-f", "order")
    assert result.exit_code == 3
    assert "no family 'order'" in result.stderr
    with lyredb.open(shop) as db:
        assert db.families() == ["default", "orders"]


def test_wrong_usage(shop: Path) -> None:
    assert run("get", shop).exit_code == 2
    assert run("get", shop, "not json", "-f", "orders").exit_code == 2
    assert run("demo", "--phase", "olpt").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", '{"a": 1}', "-f", "orders"),
        ("get", "5", "-f", "orders"),
        ("get", "5.5", "-f", "numbers"),
        ("put", "5.5", "5", "-f", "numbers"),
        ("delete", '"5"', "-f", "numbers"),
        ("scan", "--prefix", "5", "-f", "numbers"),
        ("scan", "--start", "[]", "-f", "numbers"),
    ],
)
def test_json_that_does_not_fit_the_codec(shop: Path, arguments: tuple[str, ...]) -> None:
    with lyredb.open(shop) as db:
        db.family("numbers", key="int", value="msgpack")[5] = 5
    command, *rest = arguments
    result = run(command, shop, *rest)
    assert result.exit_code == 2
    assert "family's" in result.stderr


def test_tuples_within_tuples(shop: Path) -> None:
    with lyredb.open(shop) as db:
        db.family("nested", key="tuple", value="str")["a", (1, 2)] = "found"
    assert run("get", shop, '["a", [1, 2]]', "-f", "nested").stdout == "found\n"


def test_what_to_do_is_said_for_the_shell(shop: Path, tmp_path: Path) -> None:
    for result in (run("get", shop, "a", "-f", "none"), run("check", tmp_path / "none"), run("check", tmp_path)):
        assert result.exit_code == 3
        assert "db." not in result.stderr.replace(str(tmp_path), "")
        assert "create=" not in result.stderr
