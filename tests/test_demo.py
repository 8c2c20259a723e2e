"""The demo: its answers are those of pandas, and it notices when they are not."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import lyredb
from lyredb.cli import main
from lyredb.experiments import extras, flights
from lyredb.experiments.flights.data import Data
from lyredb.experiments.flights.phases import Phase
from lyredb.experiments.flights.report import Figures, PhaseReport, show_latency, show_rate
from lyredb.experiments.flights.stopwatch import timed

BLOCKS = 2


@pytest.fixture(scope="module")
def data() -> Data:
    return Data()


def prepared(name: str, data: Data, path: Path) -> tuple[Phase, lyredb.Database[Any, Any]]:
    phase = flights.PHASES[name](data, BLOCKS, 0.02, 7)
    phase.prepare()
    database = lyredb.open(path)
    phase.load(database)
    return phase, database


def test_the_data_is_whole(data: Data) -> None:
    assert len(data.flights) == 336_776 == len(set(data.flight_keys))
    assert (len(data.weather), len(data.planes), len(data.airports), len(data.airlines)) == (26_115, 3_322, 1_458, 16)
    assert data.flight_keys == sorted(data.flight_keys)


@pytest.mark.parametrize("name", flights.PHASES)
def test_answers_are_those_of_pandas(name: str, data: Data, path: Path) -> None:
    phase, database = prepared(name, data, path)
    with database:
        for block in range(BLOCKS):
            timing = timed(phase.steps(database, block))
            assert timing.operations > 0
            phase.check(database, block, timing.answers)
        phase.finish(database)


def _change(database: lyredb.Database[Any, Any], family: str, change: Callable[[bytes], bytes]) -> None:
    """Changes all values of a family behind the phase's back."""
    records = database.family(family)
    records.write_batch({key: change(value) for key, value in records.scan()})


def _later(value: bytes) -> bytes:
    """The first byte, of a delay or a measure, is one more."""
    return bytes([(value[0] + 1) % 256]) + value[1:]


TAMPERED: dict[str, Callable[[lyredb.Database[Any, Any]], object]] = {
    "oltp": partial(_change, family="flights", change=_later),
    "olap": partial(_change, family="flights", change=_later),
    "graph": lambda database: [
        database.family("routes").delete_range(b"2013-%02d" % month, b"2013-%02d-15" % month) for month in range(1, 13)
    ],
}


@pytest.mark.parametrize("name", TAMPERED)
def test_wrong_data_is_noticed(name: str, data: Data, path: Path) -> None:
    phase, database = prepared(name, data, path)
    with database:
        TAMPERED[name](database)
        timing = timed(phase.steps(database, 0))
        with pytest.raises(flights.WrongAnswer):
            phase.check(database, 0, timing.answers)


def test_wrong_windows_are_noticed(data: Data, path: Path) -> None:
    phase, database = prepared("timeseries", data, path)
    with database:
        answers = timed(phase.steps(database, 0)).answers
        windows = [place for place, answer in enumerate(answers) if answer is not None]
        count, mean, strongest = answers[windows[-1]]
        for wrong in ((count - 1, mean, strongest), (count, mean + 0.1, strongest), (count, mean, strongest + 1)):
            with pytest.raises(flights.WrongAnswer):
                phase.check(database, 0, [*answers[: windows[-1]], wrong])


def test_stale_and_wrong_pages_are_noticed(data: Data, path: Path) -> None:
    phase, database = prepared("cache", data, path)
    with database:
        answers = timed(phase.steps(database, 0)).answers
        at = next(place for place, (_, served) in enumerate(answers) if served)
        page, served = answers[at]
        with pytest.raises(flights.WrongAnswer, match="to live"):
            phase.check(database, 0, [*answers[:at], (page, served + 5), *answers[at + 1 :]])
        with pytest.raises(flights.WrongAnswer, match="not the one"):
            phase.check(database, 0, [*answers[:at], (page[:-1] + b"?", served), *answers[at + 1 :]])


def test_a_lost_update_is_noticed(data: Data, path: Path) -> None:
    phase, database = prepared("oltp", data, path)
    with database:
        for block in range(BLOCKS):
            timed(phase.steps(database, block))
        _change(database, "totals", _later)
        with pytest.raises(flights.WrongAnswer, match="add up"):
            phase.finish(database)


def test_the_command(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = CliRunner().invoke(main, ["demo", "--quick", "--json", "--out", str(out)])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [phase["name"] for phase in report["phases"]] == list(flights.PHASES)
    for phase in report["phases"]:
        assert phase["checked"] > 0
        assert phase["changes"]
        for settings in ("default", "preset"):
            figures = phase[settings]
            assert figures["operations_per_second"] > 0
            assert 0 < figures["p50_microseconds"] <= figures["p99_microseconds"]
    assert sorted(file.name for file in out.iterdir()) == ["report.html", "report.json", "report.png"]
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "report.html").read_text()
    assert "<!--" not in page.replace("<!doctype", "")
    # Nothing is fetched from anywhere.
    assert "<script" not in page
    assert "src=" not in page
    assert "http" not in page


def test_a_terminal_shows_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = CliRunner().invoke(main, ["demo", "--quick", "--phase", "graph", "--out", str(tmp_path)], color=True)
    assert result.exit_code == 0, result.output
    for shown in ("asking pandas", "loading (graph)", "default and preset in turns", "answers are those of pandas"):
        assert shown in result.stdout


def test_a_wrong_answer_fails_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def complain(*_: object) -> None:
        raise flights.WrongAnswer("flight UA 1545 is late")

    monkeypatch.setattr(flights.PHASES["graph"], "check", complain)
    result = CliRunner().invoke(main, ["demo", "--quick", "--phase", "graph", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "wrong answer: flight UA 1545 is late" in result.stderr
    assert not (tmp_path / "databases").exists()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(lyredb.ConfigError, match=r"needs the package pandas; pip install 'lyredb\[demo\]'"):
        extras.required("pandas")
    with pytest.raises(lyredb.ConfigError, match="needs the package no_such_package"):
        extras.required_folder("no_such_package")


def _report(default: list[float], preset: list[float]) -> PhaseReport:
    figures = (Figures(name, rates, [100, 200, 300]) for name, rates in (("default", default), ("oltp", preset)))
    return PhaseReport("oltp", "t", "s", "o", [], *figures)


def test_noise_is_not_called_a_difference() -> None:
    assert _report([100.0] * 6, [130.0] * 6).verdict == "faster"
    assert _report([100.0] * 6, [80.0] * 6).verdict == "slower"
    assert _report([100.0] * 6, [130.0, 130.0, 130.0, 130.0, 90.0, 90.0]).verdict == "no clear difference"
    assert _report([100.0] * 6, [100.5] * 6).verdict == "no clear difference"


def test_figures_are_shown_to_three_places() -> None:
    assert [show_rate(rate) for rate in (12.34, 999.4, 5_330.0, 388_123.0, 1_234_567.0)] == [
        "12.3",
        "999",
        "5.33 k",
        "388 k",
        "1.23 M",
    ]
    assert [show_latency(each) for each in (0.5412, 2.773, 20.24, 4_362.0, 2e6)] == [
        "541 ns",
        "2.77 µs",
        "20.2 µs",
        "4.36 ms",
        "2 s",
    ]
