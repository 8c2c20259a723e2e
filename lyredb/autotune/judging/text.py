"""A judgement for people: as tables, and as a section of a page."""

from __future__ import annotations

from pathlib import Path

from lyredb.autotune.evaluation_text import Grid
from lyredb.autotune.judging.judgement import Judgement
from lyredb.db.errors import ConfigError
from lyredb.presets import format_size, this_machine

BEGIN, END = "<!-- judged -->", "<!-- end of judged -->"
_SUMMARY = ("figure", "found", "95 %", "wanted", "reached")


def summary(judgement: Judgement) -> list[Grid]:
    """What is wanted and what was found, a table for each part."""
    return [
        Grid(name.capitalize(), _SUMMARY, [figure.cells() for figure in part.figures])
        for name, part in judgement.parts.items()
    ]


def details(judgement: Judgement) -> list[Grid]:
    """All other tables."""
    return [grid for part in judgement.parts.values() for grid in part.grids]


def notes(judgement: Judgement) -> list[str]:
    """How many goals were reached, which not, and what could not be measured."""
    missed = [figure.name for figure in judgement.figures if not figure.reached]
    count = len(judgement.figures)
    said = [f"{count - len(missed)} of {count} goals were reached."]
    if missed:
        said.append(f"Not reached: {'; '.join(missed)}.")
    said += [f"{name} could not be measured: {why}." for name, why in judgement.failures.items()]
    return said


def markdown(judgement: Judgement) -> str:
    """The section of a page."""
    machine = this_machine()
    lines = [
        f"Measured by `{judgement.command}` at {judgement.started} in {judgement.seconds / 60:.0f} minutes, on "
        f"{machine.cores} cores and {format_size(machine.memory_bytes)} of memory.",
        "Intervals have the figure in 19 of 20 cases; a goal is reached if the figure itself is as wanted.",
        *notes(judgement),
    ]
    tables = [grid.markdown() for grid in (*summary(judgement), *details(judgement))]
    return "\n\n".join(["\n".join(lines), *(table.rstrip("\n") for table in tables)])


def section(page: Path) -> tuple[str, str]:
    """What stands before the section of a page, with the comment that begins it, and what behind it.

    Raises:
        ConfigError: The page does not have the comments.
        OSError: It cannot be read.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{page} has no section between {BEGIN} and {END}")
    return before + begin, end + after


def write_section(page: Path, judgement: Judgement) -> None:
    """Puts the section between the two comments of a page, in place of what is there.

    Raises:
        ConfigError: The page does not have the comments.
        OSError: It cannot be read or written.
    """
    before, after = section(page)
    page.write_text(f"{before}\n\n{markdown(judgement)}\n\n{after}", encoding="utf-8")
