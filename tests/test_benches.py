"""The benchmark harness runs, and its JSON has the shape that readers of it expect."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy")
pytest.importorskip("pyarrow")
pytest.importorskip("rich")

from lyredb import _engine

ROOT = Path(__file__).resolve().parent.parent
STORES = ["lyredb", "sqlite", "dict"]
ONLY = {"scan_arrow": {"lyredb"}, "batch_arrow": {"lyredb"}, "reopen": {"lyredb"}}
WORKS_WITHOUT_DICT = {"durable_put", "durable_put_8", "scan_100", "ycsb_e", "size"}


def run_benches(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benches", "--folder", str(folder), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    folder = tmp_path_factory.mktemp("benches")
    results, tables = folder / "run.json", folder / "run.md"
    process = run_benches(
        folder / "stores",
        *("--quick", "--records", "2000", "--rounds", "1", "--operations", "2000"),
        *("--reopen-bytes", "1000000", "--stores", ",".join(STORES)),
        *("--json", str(results), "--markdown", str(tables)),
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert list((folder / "stores").iterdir()) == []
    return json.loads(results.read_text(encoding="utf-8")), tables.read_text(encoding="utf-8")


def test_every_work_is_measured_with_every_store_that_can_do_it(
    run: tuple[dict[str, Any], str],
) -> None:
    samples = run[0]["samples"]
    measured: dict[str, set[str]] = {}
    for sample in samples:
        measured.setdefault(sample["work"], set()).add(sample["store"])
    assert len(measured) == 24
    for work, stores in measured.items():
        expected = ONLY.get(work, set(STORES))
        assert stores == expected - ({"dict"} if work in WORKS_WITHOUT_DICT else set()), work


def test_samples_are_whole(run: tuple[dict[str, Any], str]) -> None:
    for order, sample in enumerate(run[0]["samples"]):
        assert sample["error"] is None
        assert sample["order"] == order
        assert sample["round"] == 1
        assert sample["operations"] > 0
        assert sample["seconds"] > 0
        assert sample["figures"]
        assert all(figure > 0 for figure in sample["figures"].values())


def test_the_document_tells_what_it_was_taken_on(run: tuple[dict[str, Any], str]) -> None:
    document = run[0]
    assert document["format"] == 1
    assert document["settings"]["records"] == 2000
    assert set(document["versions"]) == set(STORES)
    assert document["left_out"] == {}
    assert {"cores", "processor", "memory_bytes", "python"} <= document["machine"].keys()


def test_verdicts_compare_with_the_peers_that_were_there(run: tuple[dict[str, Any], str]) -> None:
    verdicts = {(entry["work"], entry["against"]): entry for entry in run[0]["verdicts"]}
    best = verdicts["put", "best"]
    assert best["peer"] == "sqlite"
    assert best["wanted"] == 4.0
    expected = best["peer_figure"]["median"] / best["subject_figure"]["median"]
    assert best["ratio"]["median"] == pytest.approx(expected)
    assert best["reached"] == (expected >= 4.0)
    without_peer = verdicts["get_absent", "rocksdb"]
    assert without_peer["peer"] is None
    assert without_peer["reached"] is None


def test_the_tables_name_every_work(run: tuple[dict[str, Any], str]) -> None:
    tables = run[1]
    assert "| work | best peer | its figure | LyreDB | ratio | wanted | reached |" in tables
    assert "get, uniform, in memory" in tables
    assert "size on disk" in tables


def test_an_unknown_work_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    process = run_benches(tmp_path, "--only", "get_unform")
    assert process.returncode == 2
    assert "get_unform" in process.stderr
    assert "get_uniform" in process.stderr


def test_every_tunable_is_measured(tmp_path: Path) -> None:
    """A tunable of the registry without a piece of work in `benches.tunables` is an error there, and here."""
    results, tables = tmp_path / "tunables.json", tmp_path / "tunables.md"
    process = subprocess.run(
        [sys.executable, "-m", "benches.tunables", "--quick", "--json", str(results), "--markdown", str(tables)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert results.exists(), process.stdout + process.stderr
    document = json.loads(results.read_text(encoding="utf-8"))
    registered = {tunable["name"] for tunable in _engine.tunables()}
    assert document["without_work"] == []
    assert {sample["tunable"] for sample in document["samples"]} == registered
    assert {effect["tunable"] for effect in document["effects"]} | set(document["without_effect"]) == registered
    # How large the effects are is for a machine at rest; here, that the verdict follows from them.
    assert process.returncode == bool(document["without_effect"])
    for figure in document["figures"]:
        assert 0 <= figure["low"] <= figure["median"] <= figure["high"], figure
    for name in registered:
        assert len({sample["value"] for sample in document["samples"] if sample["tunable"] == name}) in (2, 3)
        assert f"## `{name}`" in tables.read_text(encoding="utf-8")


def test_stalls_are_measured_with_and_without_checkpoints() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "benches.stalls", "--records", "20000", "--seconds", "2", "--rounds", "1", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    found = json.loads(process.stdout)
    assert found["checkpoints"] > 0
    rows = {(row["phase"], row["operation"]): row for row in found["rows"]}
    assert len(rows) == 1 + 2 * 3
    for row in rows.values():
        times = list(row["milliseconds"].values())
        assert times == sorted(times)
        assert row["count"] > 0
