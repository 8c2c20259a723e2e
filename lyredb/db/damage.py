"""Damage: what a check finds, and saving what can be saved."""

from __future__ import annotations

import os
from dataclasses import dataclass

from lyredb import _engine
from lyredb.db.progress import Progress, reporting


@dataclass(frozen=True)
class Problem:
    """Something that `Database.check` or `lyredb.salvage` found wrong."""

    path: str
    offset: int | None
    """The byte of the file."""
    family: str | None
    what: str
    start: bytes | None = None
    """The first key, as stored, of the range whose records it concerns; None if it is about no range."""
    stop: bytes | None = None
    """The key behind that range; None with a `start` is no bound."""


@dataclass(frozen=True)
class CheckReport:
    """What `Database.check` walked over, and what it found wrong."""

    families: int
    pages: int
    records: int
    bytes: int
    problems: list[Problem]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True)
class SalvagedFamily:
    """A family of the database that `lyredb.salvage` made."""

    records: int
    lost_records: int
    """Records known to be lost; there may be more where their number is not known."""
    apart: bool
    """Whether it was made, with `all=True`, for records whose place is not proven."""


@dataclass(frozen=True)
class SalvageReport:
    """What `lyredb.salvage` saved, and what is lost."""

    families: dict[str, SalvagedFamily]
    ok: bool
    """Whether nothing is lost, whatever is damaged."""
    problems: list[Problem]
    """All damage that was met, also such as nothing is lost by."""
    lost_versions: list[tuple[int, int | None]]
    """Commits of the log that are lost: the first version and the last, None where nothing tells the last."""
    lost_values: list[tuple[str, bytes]]
    """Family and key, as stored, of records whose long value is lost."""
    unplaced_records: int
    """Records, some of them old copies, whose place in the lost ranges is not proven; `all=True` puts them apart."""


def salvage(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    destination: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    all: bool = False,
    progress: Progress = None,
) -> SalvageReport:
    """Saves what can be read of a damaged database into a new one, which it makes; the damaged one is only read.

    A record is saved in its family when it is proven to be the newest: when sound pages lead to it, or the log has it.
    Names, settings and codecs of the families are kept.

    Args:
        path: The folder of the damaged database, which no program may have open for writing.
        destination: A folder that is empty or does not exist. It is left empty when something is raised.
        all: Also save records whose place is not proven, and which may be old copies, in families of their own:
            "NAME-salvaged-1" and so on.
        progress: Called with (done, total) bytes now and then; True shows a bar (needs rich).

    Raises:
        FileNotFoundError: There is no such folder.
        NotADatabaseError: There are no files of a database in `path`, or `destination` is not empty.
        LockedError: A program has the database open for writing.
        NewerFormatError: A newer LyreDB wrote it.
        OSError: The system refused something, as for want of space.
    """
    with reporting(progress, "salvage") as report:
        found = _engine.salvage(os.fsdecode(path), os.fsdecode(destination), all, report)
    families = {
        family["name"]: SalvagedFamily(family["records"], family["lost_records"], family["apart"])
        for family in found["families"]
    }
    problems = [Problem(**problem) for problem in found["problems"]]
    return SalvageReport(
        families,
        found["ok"],
        problems,
        found["lost_versions"],
        found["lost_values"],
        found["unplaced_records"],
    )
