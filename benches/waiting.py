"""Waiting for what others do, for benches and tests."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(done: Callable[[], object], what: str, *, seconds: float = 60.0, pause: float = 0.01) -> None:
    """Returns once `done()` is true, which is asked after each pause.

    Raises:
        TimeoutError: it is not after `seconds`; the message says `what` was waited for.
    """
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            raise TimeoutError(f"after {seconds:g} s still waiting until {what}")
        time.sleep(pause)
