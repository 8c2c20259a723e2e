"""Programs that take turns in one process, so that whatever else the machine does hits all alike."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lyredb.autotune.workloads import Steps, Workload

if TYPE_CHECKING:
    from typing_extensions import Self


class _Worker(threading.Thread):
    """Does steps while it has a turn."""

    def __init__(self, name: str, steps: Steps) -> None:
        super().__init__(name=name, daemon=True)
        self._steps = steps
        self._begin, self._end = threading.Semaphore(0), threading.Semaphore(0)
        self._seconds: float | None = 0.0
        self._rate = 0.0
        self._error: BaseException | None = None

    def send(self, seconds: float | None) -> None:
        """Lets it work for so long, or end."""
        self._seconds = seconds
        self._begin.release()

    def rate(self) -> float:
        """Waits until its turn has ended, and tells its operations a second."""
        self._end.acquire()
        if self._error is not None:
            raise self._error
        return self._rate

    def run(self) -> None:
        while True:
            self._begin.acquire()
            if self._seconds is None:
                return
            try:
                begin, done, passed = time.perf_counter(), 0, 0.0
                while passed < self._seconds:
                    done += next(self._steps)
                    passed = time.perf_counter() - begin
                self._rate = done / passed
            except BaseException as error:
                # It is raised where the turn ends: a thread has nobody to tell.
                self._error = error
            self._end.release()


class Program:
    """Workloads of some families at once, which go on where they were in each turn."""

    def __init__(self, work: Mapping[str, Workload], database: Any) -> None:
        """Loads what the workloads begin with.

        Args:
            work: By family.
            database: Gets these families.
        """
        self._workers: dict[str, Sequence[_Worker]] = {}
        for name, workload in work.items():
            family = workload.family(database, name)
            workload.load(family)
            self._workers[name] = [
                _Worker(f"{name}-{number}", workload.steps(family, number)) for number in range(workload.threads)
            ]

    def turn(self, seconds: float) -> dict[str, float]:
        """Works for so long; each family's operations a second.

        Raises:
            BaseException: What a worker met.
        """
        for workers in self._workers.values():
            for worker in workers:
                worker.send(seconds)
        return {name: sum(worker.rate() for worker in workers) for name, workers in self._workers.items()}

    def __enter__(self) -> Self:
        for workers in self._workers.values():
            for worker in workers:
                worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for workers in self._workers.values():
            for worker in workers:
                worker.send(None)
                worker.join()
