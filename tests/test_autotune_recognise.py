"""What work is taken for: the shipped table's held-back workloads, and real ones."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import lyredb
from lyredb.autotune import evaluation, features, table, training, windows
from lyredb.autotune.kinds import KINDS, UNKNOWN
from lyredb.autotune.recognise import Recogniser
from lyredb.autotune.workloads import (
    Cache,
    Counters,
    Graph,
    Mixture,
    Olap,
    Oltp,
    Other,
    Running,
    TimeSeries,
    Workload,
    variants,
)
from lyredb.cli import main


@cache
def shipped() -> table.Table:
    return table.load()


@cache
def recogniser() -> Recogniser:
    return Recogniser()


@cache
def folds() -> list[evaluation.Fold]:
    return evaluation.held_back(shipped())


def segments(known: table.Table) -> list[evaluation.Segment]:
    return [(kind, list(known.of(workload))) for workload, kind in enumerate(known.kinds)]


def test_pure_work_held_back() -> None:
    found = evaluation.recognised([(fold.recogniser, segments(fold.pure)) for fold in folds()])
    assert found.workloads > 300
    assert found.macro_f1.middle >= 0.95
    assert found.macro_f1_of_one.middle >= 0.95
    assert found.macro_f1.low <= found.macro_f1.middle <= found.macro_f1.high


def test_the_main_kind_of_mixtures_held_back() -> None:
    found = evaluation.recognised([(fold.recogniser, segments(fold.mixed)) for fold in folds()])
    assert found.workloads > 400
    assert found.macro_f1.middle >= 0.85


def test_probabilities_of_a_mixture_are_its_shares_about() -> None:
    off = [
        np.abs(np.array(list(found.probabilities.values())) - shares).sum()
        for fold in folds()
        for found, shares in zip(
            fold.recogniser.recognise_each([seen for _, seen in segments(fold.mixed)]), fold.mixed.shares, strict=True
        )
    ]
    assert np.mean(off) / 2 < 0.25


REAL: list[Workload] = [
    Oltp(seed=5, records=20_000, mix="b"),
    Oltp(seed=5, records=20_000, mix="transactions", exponent=0.0, reads=2, writes=2),
    Counters(seed=5, records=16, touched=1),
    Olap(seed=5, records=50_000, reader="numpy", shortest=0.1, longest=0.3),
    Cache(seed=5, records=20_000, ttl=0.5, spelling="str"),
    TimeSeries(seed=5, records=5_000, series=3, asked=0.3),
    Graph(seed=5, records=20_000, stored="edges", degree=8, walk="search"),
    Graph(seed=5, records=20_000, stored="lists", degree=8, walk="random", spelling="int"),
]


@pytest.mark.parametrize("workload", REAL, ids=lambda workload: workload.variant)
def test_real_work(workload: Workload) -> None:
    seen = training.watch(workload, 1.0)
    found = recogniser().recognise(seen)
    assert found.kind == workload.kind
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert tuple(found.probabilities) == KINDS
    assert max(found.probabilities, key=found.probabilities.__getitem__) == workload.kind


def test_work_of_no_kind() -> None:
    assert recogniser().recognise(training.watch(Other(seed=5, records=5_000, sort="queue"), 1.0)).kind == UNKNOWN
    strange = np.array([0.5 * feature.high for feature in features.FEATURES])
    found = recogniser().recognise([strange])
    assert found.kind == UNKNOWN
    assert sum(found.probabilities.values()) == pytest.approx(1)


def test_windows_are_evidence_together() -> None:
    known = shipped()
    oltp, olap = (known.of(known.kinds.index(kind))[:3] for kind in ("oltp", "olap"))
    alone = [recogniser().recognise([row]).probabilities for row in oltp]
    together = recogniser().recognise(oltp).probabilities
    for kind in KINDS:
        assert together[kind] == pytest.approx(np.mean([each[kind] for each in alone]), abs=1e-3)
    both = recogniser().recognise([*oltp, *olap]).probabilities
    assert both["oltp"] + both["olap"] > 0.8
    with pytest.raises(ValueError, match="no window"):
        recogniser().recognise([])


def test_the_shipped_table() -> None:
    content = files("lyredb.autotune").joinpath("windows.npz").read_bytes()
    assert len(content) < 1_000_000
    known = shipped()
    assert len(known) > 3_000
    assert {*known.kinds} == {*KINDS, UNKNOWN}
    assert np.isfinite(known.vectors).all()
    highest = np.array([feature.high for feature in features.FEATURES])
    assert ((known.vectors >= 0) & (known.vectors <= highest)).all()
    assert min(np.bincount(known.fold)) > len(known.digests) / 10
    assert len(set(known.digests)) == len(known.digests)
    assert np.allclose(known.classes.sum(axis=1), 1)


def test_a_table_of_other_features_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.npz"
    np.savez(path, features=np.array(["warmth"]), kinds=np.array(KINDS))
    with pytest.raises(lyredb.ConfigError, match="other features") as caught:
        table.load(path)
    assert "autotune train" in str(caught.value.suggestion)


def test_workloads_repeat() -> None:
    one, same, other = variants(60, 3), variants(60, 3), variants(60, 4)
    assert [each.digest() for each in one] == [each.digest() for each in same]
    assert {each.digest() for each in one}.isdisjoint(each.digest() for each in other)
    assert {each.kind for each in one} == {*KINDS, UNKNOWN, "mixture"}
    for each in one:
        assert sum(each.shares.values()) == pytest.approx(0 if each.kind == UNKNOWN else 1)


@pytest.mark.parametrize(
    "workload", [each for seed in (1, 2) for each in variants(30, seed)], ids=lambda each: each.digest()
)
def test_any_workload_can_be_stepped(db: Any, workload: Workload) -> None:
    family = workload.family(db, "work")
    workload.load(family)
    done = 0
    for worker in range(workload.threads):
        steps = workload.steps(family, worker)
        done += sum(next(steps) for _ in range(3))
    assert done > 0


def test_an_error_of_a_worker_is_told(db: Any) -> None:
    workload = Oltp(seed=1, records=100, mix="c")
    running = Running(workload, None)
    with pytest.raises(AttributeError), running:
        pass


def test_few_operations_are_no_window(db: Any) -> None:
    reader = windows.Windows(db._engine)
    for _ in range(5):
        db.get(b"key")
    assert reader.take() == {}
    for _ in range(50):
        db.get(b"key")
    assert list(reader.take()) == [lyredb.DEFAULT_FAMILY]
    db.write_batch((b"%d" % number, b"") for number in range(1_000))
    reader.take()
    assert len(list(db.scan())) == 1_000
    assert list(reader.take()) == [lyredb.DEFAULT_FAMILY]


def test_scikit_learn_comes_with_a_recogniser_only() -> None:
    asked = (
        "import sys; from lyredb.autotune import alarm, recognise; alarm.ShiftAlarm();"
        "before = 'sklearn' in sys.modules; recognise.Recogniser(); print(before, 'sklearn' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "True"]


def test_training(tmp_path: Path) -> None:
    path = tmp_path / "table.npz"
    arguments = ["--out", str(path), "--workloads", "10", "--seconds", "0.5", "--processes", "2", "--json"]
    result = CliRunner().invoke(main, ["autotune", "train", *arguments])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    made = table.load(path)
    assert (facts["windows"], facts["workloads"]) == (len(made), len(made.digests))
    assert {*KINDS} <= {*made.kinds}


def test_help_and_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ([], ["train"], ["evaluate"]):
        assert CliRunner().invoke(main, ["autotune", *command, "--help"]).exit_code == 0
    monkeypatch.setitem(sys.modules, "sklearn", None)
    result = CliRunner().invoke(main, ["autotune", "evaluate"])
    assert result.exit_code == 3
    assert "pip install 'lyredb[autotune]'" in result.output


def test_a_mixture_keeps_to_its_shares(db: Any) -> None:
    first, second = Oltp(seed=1, records=500, mix="c", space="a/"), Other(seed=1, records=500, sort="bulk", space="b/")
    mixed = Mixture(seed=1, first=first, second=second, share=0.75)
    family = mixed.family(db, "work")
    mixed.load(family)
    steps = mixed.steps(family, 0)
    for _ in range(400):
        next(steps)
    assert {key[:2] for key in family.scan().keys()} == {b"a/", b"b/"}
    assert mixed.shares == {"oltp": 0.75, UNKNOWN: 0.25}
