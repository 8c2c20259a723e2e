"""Timing operations without slowing them."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lyredb.experiments.flights.phases import Step


@dataclass(frozen=True)
class Timing:
    """How long the operations of a block took, and what they answered. `began` is in Unix seconds."""

    began: float
    seconds: float
    answers: list[Any]


def timed(steps: Sequence[Step]) -> Timing:
    """Runs the operations of a block in order; garbage collection waits meanwhile."""
    answers: list[Any] = []
    gc.disable()
    try:
        began, begin = time.time(), time.perf_counter()
        for step in steps:
            # map() calls without a Python frame between two operations.
            answers.extend(map(step.operation, step.arguments))
        seconds = time.perf_counter() - begin
    finally:
        gc.enable()
    return Timing(began, seconds, answers)
