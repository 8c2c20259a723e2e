"""Runs the rounds: a fresh process for every measurement, the stores in a new order each time."""

from __future__ import annotations

import json
import math
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .channel import last_words
from .settings import Settings
from .stores import load
from .worker import PREPARE, Request
from .workloads import WORKLOADS, Workload

TIMEOUT_SECONDS = 900
ROOT = Path(__file__).resolve().parent.parent


class MeasurementError(Exception):
    """A measuring process failed; the message is the end of what it wrote."""


@dataclass
class Sample:
    """One measurement: the figures, or why there are none."""

    work: str
    store: str
    round: int
    order: int
    figures: dict[str, float] = field(default_factory=dict)
    operations: int = 0
    seconds: float = 0.0
    process_seconds: float = 0.0
    peak_memory_bytes: int | None = None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


# Told what is about to be measured, and what came of it.
Report = Callable[[str, str, int, Sample | None], None]


def measure(request: Any, worker: str = "benches.worker", timeout_seconds: float = TIMEOUT_SECONDS) -> dict[str, Any]:
    """Ask a fresh process, the module `worker`, for what a dataclass says.

    Raises:
        MeasurementError: it failed or took too long.
    """
    try:
        process = subprocess.run(
            [sys.executable, "-m", worker],
            input=json.dumps(asdict(request)),
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MeasurementError(f"no answer after {timeout_seconds:g} s") from error
    if process.returncode != 0:
        raise MeasurementError(last_words(process.stderr, process.returncode))
    answer: dict[str, Any] = json.loads(process.stdout)
    return answer


class Runner:
    def __init__(self, settings: Settings, works: Sequence[str], stores: Sequence[str], folder: Path) -> None:
        self.settings = settings
        self.works = [WORKLOADS[work] for work in works]
        self.stores = list(stores)
        self.folder = folder
        self.samples: list[Sample] = []
        # (store, records) -> why loading it failed
        self.unprepared: dict[tuple[str, int], str] = {}

    def pairs(self) -> list[tuple[Workload, str]]:
        return [(work, name) for work in self.works for name in self.stores if name in work.stores]

    def folders(self) -> list[tuple[str, int]]:
        """What has to be loaded before the first round."""
        wanted = {
            (store, work.records(self.settings)): None
            for work, store in self.pairs()
            if work.prepared and not load(store).volatile
        }
        return list(wanted)

    def _request(self, work: str, store: str, records: int) -> Request:
        return Request(
            work=work,
            store=store,
            records=records,
            prepared=str(self.folder / f"{store}-{records}"),
            scratch=str(self.folder / "scratch"),
            settings=self.settings.as_dict(),
        )

    def prepare(self, store: str, records: int) -> str | None:
        """Load a folder that many measurements read. Returns why that failed, if it did."""
        try:
            measure(self._request(PREPARE, store, records))
        except MeasurementError as error:
            self.unprepared[store, records] = str(error)
            return str(error)
        return None

    def _sample(self, work: Workload, store: str, number: int) -> Sample:
        records = work.records(self.settings)
        sample = Sample(work.name, store, number, len(self.samples))
        failure = self.unprepared.get((store, records)) if work.prepared else None
        if failure is not None:
            sample.error = f"loading failed: {failure}"
            return sample
        try:
            for name, value in measure(self._request(work.name, store, records)).items():
                setattr(sample, name, value)
        except MeasurementError as error:
            sample.error = str(error)
        finally:
            shutil.rmtree(self.folder / "scratch", ignore_errors=True)
        return sample

    def run(self, report: Report, until: float = math.inf) -> None:
        """`until`, on the clock of `time.perf_counter`: no work begins later."""
        shuffle = random.Random(self.settings.seed).shuffle
        for number in range(1, self.settings.rounds + 1):
            for work in self.works:
                if time.perf_counter() > until:
                    return
                stores = [name for name in self.stores if name in work.stores]
                # Neighbours in time share the machine's mood; no store is always first.
                shuffle(stores)
                for store in stores:
                    report(work.name, store, number, None)
                    sample = self._sample(work, store, number)
                    self.samples.append(sample)
                    report(work.name, store, number, sample)
