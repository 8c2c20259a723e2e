"""Workloads at work, in threads."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lyredb.autotune.workloads.base import Steps, Workload

if TYPE_CHECKING:
    from typing_extensions import Self


class Running:
    """The workers of a workload, each in a thread of its own, from `with` to its end.

    Attributes:
        done: How many operations there were so far.
    """

    def __init__(self, workload: Workload, family: Any) -> None:
        self._stop = threading.Event()
        self._steps = [workload.steps(family, worker) for worker in range(workload.threads)]
        self._done = [0] * workload.threads
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._work, args=(worker, steps), name=f"worker-{worker}", daemon=True)
            for worker, steps in enumerate(self._steps)
        ]

    @property
    def done(self) -> int:
        return sum(self._done)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Waits until each has finished the step it is at.

        Raises:
            BaseException: What a worker met, unless there is an error already.
        """
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._errors and error is None:
            raise self._errors[0]

    def _work(self, worker: int, steps: Steps) -> None:
        try:
            while not self._stop.is_set():
                self._done[worker] += next(steps)
        except BaseException as error:
            # It is raised where the workload ends: a thread has nobody to tell.
            self._errors.append(error)
