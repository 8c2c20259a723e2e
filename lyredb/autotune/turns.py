"""Imports beside a busy thread."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

_SECONDS = 0.0005


@contextmanager
def quick_turns() -> Generator[None]:
    """Lets threads take turns more often.

    An import gives the GIL up for each file it looks at. Beside a thread that computes it waits 5 ms each time to get
    it back, and a package of a thousand files takes many seconds in place of one.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _SECONDS))
    ours = sys.getswitchinterval()
    try:
        yield
    finally:
        # Unless the program has set another one meanwhile.
        if sys.getswitchinterval() == ours:
            sys.setswitchinterval(before)
