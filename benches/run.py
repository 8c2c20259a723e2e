"""What there is to tell of a run, whatever it measured, and the files that keep it."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Generic, TypeVar

from . import machine
from .runner import Sample
from .summary import Figures

FORMAT = 1

AnySettings = TypeVar("AnySettings")
AnySample = TypeVar("AnySample", bound=Sample)


@dataclass(kw_only=True)
class Circumstances:
    """How, when and where a run was begun."""

    command: list[str]
    started: str
    machine: dict[str, object]


def circumstances(module: str, folder: Path) -> dict[str, Any]:
    """Those of now, by the names of their fields, for a run of `python -m module` with its databases in a folder."""
    return {
        "command": ["python", "-m", module, *sys.argv[1:]],
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine.describe(folder),
    }


@dataclass(kw_only=True)
class StoresRun(Circumstances, Generic[AnySettings, AnySample]):
    """A run that compares stores. `settings` has an `as_dict`."""

    settings: AnySettings
    versions: dict[str, str]
    samples: list[AnySample] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def figures(self) -> Figures:
        return Figures(self.samples)

    @property
    def failures(self) -> list[AnySample]:
        return [sample for sample in self.samples if sample.error is not None]

    def stores(self) -> list[str]:
        """Those that were measured, in the order of the table."""
        seen = {sample.store for sample in self.samples}
        return [name for name in self.versions if name in seen]

    def as_dict(self) -> dict[str, Any]:
        figures = self.figures
        return {
            "format": FORMAT,
            "started": self.started,
            "seconds": self.seconds,
            "command": self.command,
            "settings": self.settings.as_dict(),
            "machine": self.machine,
            "versions": self.versions,
            "samples": [sample.as_dict() for sample in self.samples],
            "figures": figures.as_dict(),
            "verdicts": [asdict(verdict) for verdict in figures.verdicts()],
        }

    def failures_as_markdown(self) -> list[str]:
        """A section of its own, if there are any."""
        lines = [f"- {sample.work}, {sample.store}, round {sample.round}: {sample.error}" for sample in self.failures]
        return ["", "## Failures", "", *lines] if lines else []


def add_files(parser: argparse.ArgumentParser) -> None:
    """The options that `write_files` looks at."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample, versions and the machine")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")


def write_files(arguments: argparse.Namespace, document: dict[str, Any], tables: str) -> None:
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if arguments.markdown is not None:
        arguments.markdown.write_text(tables, encoding="utf-8")
