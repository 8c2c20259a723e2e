"""Timing operations without slowing them."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

from lyredb.experiments.flights.phases import Step

# One operation in so many is timed by itself: a prime, so that no rhythm of the work hides any kind from it.
_SAMPLE_EVERY = 17


@dataclass(frozen=True)
class Timing:
    """How long the operations of a block took, and what they answered."""

    operations: int
    seconds: float
    sampled_ns: list[int]
    answers: list[Any]

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.operations / self.seconds


def timed(steps: Iterable[Step]) -> Timing:
    """Runs all operations in order; garbage collection waits meanwhile."""
    steps = list(steps)
    sampled: list[int] = []
    answers: list[Any] = []
    until_sample = 0
    gc.collect()
    gc.disable()
    try:
        begin = perf_counter_ns()
        for step in steps:
            operation, arguments = step.operation, step.arguments
            place, count = 0, len(arguments)
            while place < count:
                if until_sample == 0:
                    started = perf_counter_ns()
                    answer = operation(arguments[place])
                    sampled.append(perf_counter_ns() - started)
                    answers.append(answer)
                    until_sample = _SAMPLE_EVERY - 1
                    place += 1
                else:
                    stretch = min(until_sample, count - place)
                    # map() calls without a Python frame between two operations.
                    answers.extend(map(operation, arguments[place : place + stretch]))
                    until_sample -= stretch
                    place += stretch
        elapsed_ns = perf_counter_ns() - begin
    finally:
        gc.enable()
    return Timing(len(answers), elapsed_ns / 1e9, sampled, answers)
