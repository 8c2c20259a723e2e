"""Judging the tuner: verdicts, and each part as little as it can be."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lyredb.autotune import evaluation
from lyredb.autotune.evaluation import Alarms, Estimate, Evaluation, Recognised, Unknown
from lyredb.autotune.evaluation_text import Grid
from lyredb.autotune.journal import Decision
from lyredb.autotune.judging import PARTS, Judgement, judge, judgement, safety, text, timeline, turns
from lyredb.autotune.judging.circumstances import Circumstances, NotMeasured
from lyredb.autotune.judging.figures import Figure, Part, exactly, median, share
from lyredb.autotune.workloads import Oltp
from lyredb.cli import main
from lyredb.experiments.flights.report import Report
from lyredb.experiments.flights.timeline import Block, segments

# --- verdicts


def test_a_goal_is_reached_by_the_figure_itself() -> None:
    least = Figure("speed", Estimate(0.96, 0.91, 1.02), 0.95, form=".2f")
    assert least.reached
    assert least.cells() == ("speed", "0.96", "0.91 to 1.02", "at least 0.95", "yes")
    most = Figure("alarms", exactly(1.5), 1.0, at_least=False, form=".1f")
    assert not most.reached
    assert most.cells() == ("alarms", "1.5", "", "at most 1.0", "no")


def test_what_never_happens_is_not_reached_and_null_in_json() -> None:
    never = Figure("seconds", Estimate(math.inf, 2.0, math.inf), 10.0, at_least=False, form=".1f")
    assert not never.reached
    assert never.cells()[1:3] == ("never", "2.0 to never")
    assert json.loads(json.dumps(never.as_dict(), allow_nan=False))["found"] is None


def test_medians_have_intervals() -> None:
    found = median([0.9, 1.0, 1.0, 1.0, 1.1])
    assert found.middle == 1.0
    assert 0.9 <= found.low <= 1.0 <= found.high <= 1.1


def test_shares_have_intervals_even_where_nothing_was_counted() -> None:
    none = share(0, 200)
    assert (none.middle, none.low) == (0.0, 0.0)
    assert 0.01 < none.high < 0.03
    assert share(20, 20).high == 1.0
    half = share(50, 100)
    assert half.low == pytest.approx(0.404, abs=0.001)
    assert half.high == pytest.approx(0.596, abs=0.001)


def report(speeds: dict[str, dict[str, float]], rounds: int = 8) -> Report:
    """Of a timeline in which arms have these speeds, by phase, and the default 1."""
    arms = ["tuned", "default", "oltp", "olap"]
    made = Report("test", "now", True, "", arms, segments(list(speeds)))
    for segment in made.segments:
        for turn in range(rounds):
            for arm in arms:
                speed = speeds[segment.phase].get(arm, 1.0)
                made.blocks.append(Block(segment.number, turn, 0, arm, 0.0, 100, 1.0 / speed))
    return made


def test_a_timeline_is_judged_by_phase_and_as_a_whole() -> None:
    speeds = {"oltp": {"tuned": 1.2, "oltp": 1.25, "olap": 0.5}, "olap": {"tuned": 1.8, "oltp": 1.0, "olap": 2.0}}
    found = timeline.of_reports([report(speeds), report(speeds)])
    figures = {figure.name: figure for figure in found.figures}
    assert figures["oltp: tuned / best preset (oltp)"].found.middle == pytest.approx(1.2 / 1.25)
    assert figures["oltp: tuned / best preset (oltp)"].reached
    assert figures["olap: tuned / best preset (olap)"].found.middle == pytest.approx(0.9)
    assert not figures["olap: tuned / best preset (olap)"].reached
    # Each phase takes the default as long: 2 s of work in 1 / 1.2 s + 1 / 1.8 s.
    tuned = 2 / (1 / 1.2 + 1 / 1.8)
    assert figures["whole timeline: tuned / default"].found.middle == pytest.approx(tuned)
    assert figures["whole timeline: tuned / preset olap"].found.middle == pytest.approx(tuned / (2 / (2 + 0.5)))
    assert figures["worst 5 s of tuned / default"].found.middle == pytest.approx(1.2)
    # There is no minute of it.
    assert "worst 60 s of tuned / default" not in figures
    # In olap it is never at 95 % of the best, in oltp at once.
    assert [figure.found.high for figure in found.figures if "adapt" in figure.name] == [math.inf, math.inf]
    assert found.grids[0].rows[0][0] == "oltp"


def test_settings_were_taken_back_if_a_decision_says_so() -> None:
    def decision(number: int, kind: str) -> Decision:
        return Decision(number, float(number), "orders", kind, "")

    recalled = [decision(1, "recognised"), decision(2, "recalled"), decision(3, "trial")]
    assert safety.ended([decision(1, "recognised"), decision(2, "rollback")]) is None
    assert safety.ended(recalled) is None
    assert safety.ended([*recalled, decision(4, "shift")]) is None
    assert safety.ended([*recalled, decision(4, "rollback")]) == (recalled[1], decision(4, "rollback"))


# --- turns


def test_programs_go_on_where_they_were(db: Any) -> None:
    with turns.Program({"orders": Oltp(seed=1, records=500, mix="a", threads=2)}, db) as program:
        assert db.family("orders").scan().count() == 500
        rates = [program.turn(0.05) for _ in range(3)]
    assert all(rate["orders"] > 0 for rate in rates)


def test_an_error_of_a_worker_is_told(db: Any) -> None:
    class Failing(Oltp):
        def steps(self, family: Any, worker: int) -> Any:
            yield from (1 // (3 - number) for number in count())

    program = turns.Program({"orders": Failing(seed=1, records=10, mix="a")}, db)
    with pytest.raises(ZeroDivisionError), program:
        program.turn(5.0)


# --- the parts


def little(part: str) -> Part:
    found = judge(quick=True, seed=1, processes=2, command="judge", only=[part], tiny=True)
    assert found.failures == {}
    assert list(found.parts) == [part]
    made = found.parts[part]
    assert made.figures
    json.dumps(found.as_dict(), allow_nan=False)
    assert all(len(row) == len(grid.columns) for grid in made.grids for row in grid.rows)
    return made


def test_recognition_is_what_evaluating_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = Estimate(0.97, 0.95, 0.98), Estimate(0.5, 0.4, 0.6)
    seen = Recognised([[0] * 6 for _ in range(5)], 10, good, bad, good)
    alarms = Alarms(10, good, [10, 0, 0, 0, 0, 0, 0], 100, bad)
    by_shift = {"another kind": alarms, "the same kind": alarms}
    made = Evaluation(seen, seen, Unknown(0.0, {}), by_shift, by_shift, seen)
    asked: dict[str, Any] = {}

    def evaluate(*_: Any, **options: Any) -> Evaluation:
        asked.update(options)
        return made

    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    found = little("recognition")
    assert (asked["quick"], asked["seed"]) == (True, 1)
    assert [figure.wanted for figure in found.figures] == [0.95, 0.85, 0.95, 0.95, 1.0, 0.95, 1.0]
    assert all(figure.reached for figure in found.figures)


def test_families() -> None:
    found = little("families")
    assert [row[:2] for row in found.grids[0].rows] == [
        ("orders", "oltp"),
        ("metrics", "timeseries"),
        ("reports", "olap"),
    ]


def test_overhead() -> None:
    assert len(little("overhead").figures) == 3


def test_safety() -> None:
    found = little("safety")
    assert sum(int(row[1]) for row in found.grids[0].rows) == 30
    for figure in found.figures[1:]:
        assert math.isfinite(figure.found.middle), figure.name


def test_timeline() -> None:
    found = little("timeline")
    assert found.figures[0].name == "oltp: tuned / best preset (oltp)"
    assert [figure.name for figure in found.figures if "whole timeline" in figure.name] == [
        "whole timeline: tuned / preset oltp",
        "whole timeline: tuned / default",
    ]


def test_presets() -> None:
    assert [row[0] for row in little("presets").grids[0].rows] == ["oltp"]


# --- the command


def part(name: str, found: Callable[[Circumstances], Part], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judgement, "PARTS", {**judgement.PARTS, name: found})


def easy(circumstances: Circumstances) -> Part:
    assert circumstances.folder.is_dir()
    circumstances.progress(1, 2)
    return Part(
        [Figure("speed", exactly(1.0), 0.9), Figure("loss", exactly(0.2), 0.1, at_least=False)],
        [Grid("More", ("a", "b"), [("1", "2")])],
        {"seed": circumstances.seed},
    )


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part("overhead", easy, monkeypatch)
    page, out = tmp_path / "page.md", tmp_path / "found.json"
    page.write_text(f"before\n{text.BEGIN}\nold\n{text.END}\nafter\n")
    options = ["--quick", "--only", "overhead", "--seed", "7", "--json", str(out), "--markdown", str(page)]
    result = CliRunner().invoke(main, ["autotune", "judge", *options])
    assert result.exit_code == 0, result.output
    assert "1 of 2 goals were reached." in result.output
    assert "Not reached: loss." in result.output
    written = page.read_text()
    assert written.startswith(f"before\n{text.BEGIN}\n")
    assert written.endswith(f"{text.END}\nafter\n")
    assert "old" not in written
    assert "| speed | 1.000 |  | at least 0.900 | yes |" in written
    found = json.loads(out.read_text())
    assert found["command"] == "lyredb autotune judge --quick --only overhead --seed 7"
    assert {"command", "started", "seconds", "quick", "seed", "lyredb", "machine"} < set(found)
    assert [(each["part"], each["name"], each["reached"]) for each in found["figures"]] == [
        ("overhead", "speed", True),
        ("overhead", "loss", False),
    ]
    assert found["tables"] == [{"part": "overhead", "title": "More", "columns": ["a", "b"], "rows": [["1", "2"]]}]
    assert found["details"] == {"overhead": {"seed": 7}}


def test_what_cannot_be_measured_is_told_and_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Circumstances) -> Part:
        raise NotMeasured("nothing happened")

    part("families", fails, monkeypatch)
    part("overhead", easy, monkeypatch)
    result = CliRunner().invoke(main, ["autotune", "judge", "--only", "families,overhead"])
    assert result.exit_code == 1
    assert "families could not be measured: NotMeasured: nothing happened." in result.output
    assert "1 of 2 goals were reached." in result.output


def test_a_page_without_the_comments_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part("overhead", easy, monkeypatch)
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    result = CliRunner().invoke(main, ["autotune", "judge", "--only", "overhead", "--markdown", str(page)])
    assert result.exit_code == 3
    assert page.read_text() == "nothing\n"
    assert "goals" not in result.output


def test_unknown_parts_are_refused() -> None:
    result = CliRunner().invoke(main, ["autotune", "judge", "--only", "speed"])
    assert result.exit_code == 2
    assert all(name in result.output for name in PARTS)


def test_the_page_of_the_documentation_has_its_section() -> None:
    page = (Path(__file__).parent.parent / "docs" / "autotune.md").read_text()
    assert page.count(text.BEGIN) == page.count(text.END) == 1


def test_a_judgement_says_how_it_was_made() -> None:
    found = Judgement("lyredb autotune judge --quick --seed 3", "2026-01-01T00:00:00Z", True, 3)
    assert "`lyredb autotune judge --quick --seed 3` at 2026-01-01" in text.markdown(found)
