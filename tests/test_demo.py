"""The demo: its answers are those of pandas, and it notices when they are not."""

from __future__ import annotations

import importlib
import io
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

import lyredb
from lyredb.autotune import Decision, FamilyStatus, Status
from lyredb.cli import main
from lyredb.experiments import extras, flights
from lyredb.experiments.flights import chart, measures, runner, tables, webpage
from lyredb.experiments.flights.data import Data, numpy
from lyredb.experiments.flights.follower import Decided, Follower, Seen
from lyredb.experiments.flights.measures import Pair
from lyredb.experiments.flights.phases import Mirror, Phase
from lyredb.experiments.flights.report import Report
from lyredb.experiments.flights.shown import show_rate, show_seconds
from lyredb.experiments.flights.stopwatch import timed
from lyredb.experiments.flights.timeline import DEFAULT, TUNED, Block, Rounds, Segment, segments

BLOCKS = 2


@pytest.fixture(scope="module")
def data() -> Data:
    return Data()


class Prepared:
    """A phase with a database of its own."""

    def __init__(self, name: str, data: Data, path: Path) -> None:
        self.phase: Phase[Any] = flights.PHASES[name](data, 0.02)
        self.phase.prepare()
        self.database = lyredb.open(path)
        self.phase.load(self.database)
        self.mirror = Mirror.of(data)

    def answers(self, seed: int = 0) -> tuple[Any, list[Any]]:
        work = self.phase.draw(numpy.random.default_rng(seed))
        return work, timed(self.phase.steps(self.database, self.mirror, work)).answers


@pytest.fixture
def prepared(data: Data, path: Path) -> Any:
    opened: list[Prepared] = []

    def prepare(name: str) -> Prepared:
        opened.append(Prepared(name, data, path))
        return opened[-1]

    yield prepare
    for each in opened:
        each.database.close()


def test_the_data_is_whole(data: Data) -> None:
    assert len(data.flights) == 336_776 == len(set(data.flight_keys))
    assert (len(data.weather), len(data.planes), len(data.airports), len(data.airlines)) == (26_115, 3_322, 1_458, 16)
    assert data.flight_keys == sorted(data.flight_keys)


@pytest.mark.parametrize("name", flights.PHASES)
def test_answers_are_those_of_pandas(name: str, prepared: Callable[[str], Prepared]) -> None:
    each = prepared(name)
    for block in range(BLOCKS):
        work, answers = each.answers(block)
        assert answers
        each.phase.check(each.mirror, work, answers)
    each.phase.finish(each.database, each.mirror)


def test_reports_see_what_the_desk_changed(data: Data, prepared: Callable[[str], Prepared]) -> None:
    desk = prepared("oltp")
    report = flights.PHASES["olap"](data, 0.02)
    report.prepare()
    for block in range(BLOCKS):
        work, answers = desk.answers(block)
        desk.phase.check(desk.mirror, work, answers)
        spans = [(0, 365), *report.draw(numpy.random.default_rng(block))]
        found = timed(report.steps(desk.database, desk.mirror, spans)).answers
        report.check(desk.mirror, spans, found)
        with pytest.raises(flights.WrongAnswer, match="minutes are"):
            report.check(Mirror.of(data), spans, found)


def test_weather_goes_on_from_year_to_year(prepared: Callable[[str], Prepared]) -> None:
    each = prepared("timeseries")
    # A fiftieth of a year in a block.
    for block in range(60):
        work, answers = each.answers(block)
        each.phase.check(each.mirror, work, answers)
    each.phase.finish(each.database, each.mirror)


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
def test_wrong_data_is_noticed(name: str, prepared: Callable[[str], Prepared]) -> None:
    each = prepared(name)
    TAMPERED[name](each.database)
    work, answers = each.answers()
    with pytest.raises(flights.WrongAnswer):
        each.phase.check(each.mirror, work, answers)


def test_wrong_windows_are_noticed(prepared: Callable[[str], Prepared]) -> None:
    each = prepared("timeseries")
    work, answers = each.answers()
    last = max(place for place, answer in enumerate(answers) if answer is not None)
    count, mean, strongest = answers[last]
    for wrong in ((count - 1, mean, strongest), (count, mean + 0.1, strongest), (count, mean, strongest + 1)):
        with pytest.raises(flights.WrongAnswer, match="readings, mean and strongest wind"):
            each.phase.check(each.mirror, work, [*answers[:last], wrong, *answers[last + 1 :]])


def test_lost_readings_are_noticed(prepared: Callable[[str], Prepared]) -> None:
    each = prepared("timeseries")
    each.database.family("weather").pop(next(iter(each.database.family("weather"))))
    with pytest.raises(flights.WrongAnswer, match="readings, not"):
        each.phase.finish(each.database, each.mirror)


def test_stale_and_wrong_pages_are_noticed(prepared: Callable[[str], Prepared]) -> None:
    each = prepared("cache")
    work, answers = each.answers()
    at = next(place for place, (_, asked) in enumerate(answers) if asked > 0)
    page, asked = answers[at]
    with pytest.raises(flights.WrongAnswer, match="to live"):
        each.phase.check(each.mirror, work, [*answers[:at], (page, asked + 0.41), *answers[at + 1 :]])
    with pytest.raises(flights.WrongAnswer, match="not the one"):
        each.phase.check(each.mirror, work, [*answers[:at], (page[:-1] + b"?", asked), *answers[at + 1 :]])


def test_a_page_is_as_old_as_its_put(prepared: Callable[[str], Prepared]) -> None:
    each = prepared("cache")
    work, answers = each.answers()
    place = next(place for place, (_, asked) in enumerate(answers) if asked > 0)
    page, asked = answers[place]
    first = work.index(work[place])
    # The thread had to wait between the stamp and the put, which came late, and serving is late by as much.
    answers[first] = (answers[first][0], answers[first][1] - 0.3)
    answers[place] = (page, asked + 0.6)
    each.phase.check(each.mirror, work, answers)


@pytest.mark.parametrize(("family", "complaint"), [("totals", "add up"), ("flights", "written last")])
def test_a_lost_update_is_noticed(family: str, complaint: str, prepared: Callable[[str], Prepared]) -> None:
    each = prepared("oltp")
    work, answers = each.answers()
    each.phase.check(each.mirror, work, answers)
    _change(each.database, family, _later)
    with pytest.raises(flights.WrongAnswer, match=complaint):
        each.phase.finish(each.database, each.mirror)


def test_every_arm_has_its_turns() -> None:
    arms = [TUNED, DEFAULT, "oltp", "olap", "graph"]
    rounds = Rounds(arms, numpy.random.default_rng(1))
    drawn = [rounds.next("cache") for _ in range(9)]
    assert Counter(arm for each in drawn for arm in each) == {TUNED: 9, DEFAULT: 9, "oltp": 3, "olap": 3, "graph": 3}
    assert len({tuple(each) for each in drawn}) > 3
    # Another phase has another order of presets, all of which have their turn.
    assert {arm for _ in range(3) for arm in rounds.next("oltp")} == set(arms)
    assert Rounds([DEFAULT], numpy.random.default_rng(1)).next("oltp") == [DEFAULT]
    assert [(each.number, each.phase, each.lap) for each in segments(("a", "b"))] == [
        (0, "a", 0),
        (1, "b", 0),
        (2, "a", 1),
        (3, "b", 1),
    ]


def _pairs(*seconds: tuple[float, float]) -> list[Pair]:
    """Pairs of the default's seconds and the arm's."""
    return [Pair(0, turn, own, reference) for turn, (reference, own) in enumerate(seconds)]


def test_blocks_are_compared_in_their_round() -> None:
    def block(turn: int, place: int, arm: str, seconds: float, operations: int = 100) -> Block:
        return Block(0, turn, place, arm, 0.0, operations, seconds)

    blocks = [
        block(0, 0, TUNED, 1.0),
        block(0, 1, TUNED, 2.0),
        block(0, 0, DEFAULT, 1.5),
        block(0, 1, DEFAULT, 3.0, operations=200),
        block(1, 0, DEFAULT, 9.0),
        block(1, 0, "oltp", 3.0),
    ]
    # Of twice the work, half the time.
    assert measures.paired(blocks, TUNED) == [Pair(0, 0, 1.0, 1.5), Pair(0, 0, 2.0, 1.5)]
    assert measures.ratio(measures.paired(blocks, TUNED)) == 1.0
    assert measures.ratio(measures.paired(blocks, "oltp")) == 3.0
    assert measures.paired(blocks, "olap") == []


def test_the_worst_stretch_is_of_own_work() -> None:
    even = _pairs(*[(1.0, 1.0)] * 6)
    assert measures.worst(even) == (0.0, 5.0, 1.0)
    # Two seconds each for what takes the default one: the third to fifth second are slow, and one on both sides.
    dip = _pairs((1, 1), (1, 1), (1, 2), (1, 2), (1, 1), (1, 1), (1, 1))
    assert measures.worst(dip) == (1.0, 6.0, 3 / 5)
    # At least five seconds: 6 s here, for what takes 4 s.
    assert measures.worst(_pairs((1, 1), (1, 2), (1, 1), (2, 3))).ratio == pytest.approx(4 / 6)
    assert measures.worst(_pairs((1, 2), (1, 2))) == (0.0, 4.0, 0.5)
    assert measures.rolling([], 5.0) == []


def test_adapting_takes_until_it_lasts() -> None:
    slow, fast = (1.0, 1.25), (1.0, 0.8)
    assert measures.time_to_adapt(_pairs(*[fast] * 5), 1.2) == 0.0
    assert measures.time_to_adapt(_pairs(slow, slow, *[fast] * 8), 1.2) == 2.5
    assert measures.time_to_adapt(_pairs(*[slow] * 5), 1.2) is None
    # Two fast blocks before many slow ones are luck.
    assert measures.time_to_adapt(_pairs(fast, fast, *[slow] * 6, *[fast] * 4), 1.2) == pytest.approx(9.1)


def test_intervals_hold_the_ratio() -> None:
    same = measures.interval(_pairs(*[(1.2, 1.0)] * 8))
    assert same == pytest.approx((1.2, 1.2, 1.2))
    low, middle, high = measures.interval(_pairs(*[(1.0, 1.0), (1.4, 1.0)] * 8))
    assert middle == pytest.approx(1.2)
    assert 1.05 < low < 1.15
    assert 1.25 < high < 1.35


def test_the_whole_is_the_time_for_all_work() -> None:
    # 10 s at twice the speed and 10 s at half of it: 20 s of work in 25 s.
    assert measures.over_all([(10.0, 2.0), (10.0, 0.5)]) == pytest.approx(20 / 25)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of two rounds."""
    monkeypatch.setattr(runner, "_QUICK_SECONDS", 0.0)


@pytest.mark.usefixtures("short")
def test_the_command(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arms = "default,oltp,olap"
    result = CliRunner().invoke(main, ["demo", "--quick", "--json", "--arms", arms, "--output", str(out)])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [phase["name"] for phase in report["phases"]] == list(flights.PHASES)
    assert [(each["phase"], each["lap"]) for each in report["segments"]] == [
        (name, lap) for lap in range(2) for name in flights.PHASES
    ]
    for segment in report["segments"]:
        assert segment["default_operations_per_second"] > 0
        assert segment["best_preset"]["preset"] in ("oltp", "olap")
    assert report["arms"] == ["default", "oltp", "olap"] == list(report["whole"]["over_default"])
    assert report["whole"]["over_default"]["default"] == 1.0
    assert report["checked"] == sum(block["operations"] for block in report["blocks"])
    # Arms that have a turn in the same round do the same work.
    by_round: dict[tuple[int, int, int], set[int]] = {}
    for block in report["blocks"]:
        if report["segments"][block["segment"]]["phase"] != "timeseries":
            by_round.setdefault((block["segment"], block["turn"], block["place"]), set()).add(block["operations"])
    assert len(by_round) == 8 * 2 * 5
    assert all(len(operations) == 1 for operations in by_round.values())
    assert sorted(file.name for file in out.iterdir()) == ["report.html", "report.json", "report.png"]
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "report.html").read_text()
    assert "<!--" not in page.replace("<!doctype", "")
    # Nothing is fetched from anywhere.
    assert "<script" not in page
    assert "src=" not in page
    assert "http" not in page


@pytest.mark.usefixtures("short")
def test_what_is_tuned_is_followed(tmp_path: Path) -> None:
    options = flights.Options(tmp_path, quick=True, phases=("cache", "graph"), arms=(TUNED,))
    report = flights.run(options, quiet=True)
    assert report.arms == [TUNED, DEFAULT]
    assert report.presets == []
    assert report.best_of_each is None
    for row in report.rows:
        assert row.tuned is not None
        assert row.worst is not None
        assert row.tuned.low <= row.tuned.middle <= row.tuned.high
        assert row.best is row.tuned_over_best is row.adapt_seconds is None
    turns = {(block.segment, block.turn) for block in report.blocks if block.arm == TUNED}
    assert len(report.seen) == len(turns) == 8
    assert [seen.own_seconds for seen in report.seen] == sorted(seen.own_seconds for seen in report.seen)
    assert report.worst is not None


class _Tuned:
    """A database whose tuner has said so much."""

    def __init__(self, decisions: list[Decision], error: str | None = None) -> None:
        self.autotune = self
        self.decisions, self.error = decisions, error

    def status(self) -> Status:
        family = FamilyStatus("settled", "oltp", {"oltp": 1.0}, "preset", {"delta_records": 64}, (1.0, 1.1, 1.2), 0.1)
        return Status("running", 9, {"flights": family, "weather": family}, {}, self.error)

    def history(self) -> list[Decision]:
        return self.decisions


def test_decisions_are_told_once_and_in_own_time() -> None:
    first, second = (
        Decision(number, at, "flights", "applied", "flights: so") for number, at in ((4, 101.5), (7, 109.0))
    )
    tuned: Any = _Tuned([first])
    segment = Segment(0, "oltp", 0)
    blocks = [
        Block(0, 0, 0, TUNED, 100.0, 1, 1.0),
        Block(0, 0, 1, TUNED, 101.0, 1, 1.0),
        Block(0, 0, 0, DEFAULT, 102.0, 1, 5.0),
        Block(0, 1, 0, TUNED, 110.0, 1, 1.0),
    ]
    follower = Follower(tuned)
    seen, decided = follower.look(segment, ("flights", "totals"), blocks)
    assert (seen.own_seconds, list(seen.families)) == (3.0, ["flights"])
    assert [(each.own_seconds, each.why) for each in decided] == [(1.5, "so")]
    tuned.decisions.append(second)
    _, decided = follower.look(segment, ("flights", "totals"), blocks)
    assert [(each.own_seconds, each.decision.number) for each in decided] == [(2.0, 7)]
    tuned.error = "KeyError: 'oltp'"
    with pytest.raises(lyredb.Error, match="the tuner has failed: KeyError"):
        follower.look(segment, ("flights",), blocks)


def _made_up() -> Report:
    """A report of a run that was never made."""
    report = Report(
        "lyredb demo", "now", False, "data", [TUNED, DEFAULT, "cache", "timeseries"], segments(("cache", "timeseries"))
    )
    seconds = {TUNED: 0.8, DEFAULT: 1.0, "cache": 0.75, "timeseries": 1.5}
    tuned: Any = _Tuned([])
    for segment in report.segments:
        for turn in range(3):
            for place in range(2):
                for arm in report.arms:
                    report.blocks.append(Block(segment.number, turn, place, arm, 0.0, 1000, seconds[arm]))
        decision = Decision(1, 0.0, "pages", "applied", "pages: <b>", changed={"leaf_bytes": (8192, 4096)})
        report.decisions.append(Decided(segment.number, 1.0 + segment.number, decision))
        report.seen.append(Seen(segment.number, 1.0, {"pages": tuned.status().families["flights"]}, {}))
    return report


def test_a_report_has_ratios_by_phase_and_over_all() -> None:
    report = _made_up()
    best = flights.Best("cache", pytest.approx(4 / 3))
    assert report.best("cache") == best
    for row in report.rows:
        assert row.best == best
        assert row.tuned == pytest.approx((1.25, 1.25, 1.25))
        assert row.tuned_over_best == pytest.approx(0.9375)
        # 0.95 of the best preset's speed is not reached.
        assert row.adapt_seconds is None
        assert row.worst is not None
        assert row.worst.ratio == pytest.approx(1.25)
    assert report.whole == pytest.approx({TUNED: 1.25, DEFAULT: 1.0, "cache": 4 / 3, "timeseries": 2 / 3})
    assert report.best_of_each == pytest.approx(4 / 3)


def test_the_best_preset_is_not_flattered_by_chance() -> None:
    report = _made_up()
    # Each is measured at three times its speed, once.
    lucky = {(0, "cache"), (2, "timeseries")}
    report.blocks = [
        replace(block, seconds=block.seconds / 3) if (block.segment, block.arm) in lucky else block
        for block in report.blocks
    ]
    found = report.best("cache")
    assert found is not None
    # Measured when it was not lucky, "cache" is at 4/3 and "timeseries" at 2/3.
    assert found == flights.Best("cache", pytest.approx((4 / 3 * 2 / 3) ** 0.5))


def test_a_report_is_shown(tmp_path: Path) -> None:
    report = _made_up()
    page = webpage.render(report)
    assert "&lt;b&gt;" in page
    assert "leaf_bytes 8 KiB to 4 KiB" in page
    assert "<b></td>" not in page
    chart.draw(report, tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    json.dumps(report.as_dict())
    shown = Console(width=80, file=io.StringIO(), record=True)
    shown.print(tables.by_segment(report, wide=False))
    shown.print(tables.whole(report))
    lines = shown.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    assert "cache" in lines[1]
    assert "1.25x" in lines[1]


@pytest.mark.usefixtures("short")
def test_a_terminal_shows_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    arguments = ["demo", "--quick", "--phase", "graph", "--arms", "default,graph", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, arguments, color=True)
    assert result.exit_code == 0, result.output
    for shown in ("asking pandas", "loading (graph)", "segment 2 of 2", "the second time", "answers are those of"):
        assert shown in result.stdout


@pytest.mark.usefixtures("short")
def test_a_file_gets_a_line_for_each_segment(tmp_path: Path) -> None:
    arguments = ["demo", "--quick", "--phase", "graph", "--arms", "default,graph", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert [line.partition(":")[0] for line in result.stdout.splitlines() if "/s, best" in line] == [
        "1/2 graph",
        "2/2 graph",
    ]


def test_a_wrong_answer_fails_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def complain(*_: object) -> None:
        raise flights.WrongAnswer("flight UA 1545 is late")

    monkeypatch.setattr(flights.PHASES["graph"], "check", complain)
    arguments = ["demo", "--quick", "--phase", "graph", "--arms", "default", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "wrong answer: flight UA 1545 is late" in result.stderr
    assert not (tmp_path / "databases").exists()


@pytest.mark.parametrize(("option", "name"), [("--phase", "oltq"), ("--arms", "tuned,fast")])
def test_names_that_there_are_not_are_refused(option: str, name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["demo", option, name, "--output", str(tmp_path)])
    assert result.exit_code == 2
    assert "there are" in result.stderr


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(lyredb.ConfigError, match=r"needs the package pandas; pip install 'lyredb\[demo\]'"):
        extras.required("pandas")
    with pytest.raises(lyredb.ConfigError, match="needs the package no_such_package"):
        extras.required_folder("no_such_package")


def test_figures_are_shown_to_three_places() -> None:
    assert [show_rate(rate) for rate in (12.34, 999.4, 5_330.0, 388_123.0, 1_234_567.0)] == [
        "12.3",
        "999",
        "5.33 k",
        "388 k",
        "1.23 M",
    ]
    assert [show_seconds(each) for each in (None, 0.0, 2.345)] == ["never", "at once", "2.3 s"]
