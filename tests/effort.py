"""How much a suite tries, and the record of it; `scripts/tally.py` has the names and what each has to reach."""

from __future__ import annotations

import math
import os


def scaled(count: int) -> int:
    """`count` times LYREDB_TEST_EFFORT, which is 1 unless set: 0.1 for a quick look, 100 for a night."""
    return max(1, math.ceil(count * float(os.environ.get("LYREDB_TEST_EFFORT", "1"))))


def tally(name: str, count: int) -> None:
    """Adds to what was tried, in the file that LYREDB_TALLY names."""
    print(count, name)
    path = os.environ.get("LYREDB_TALLY")
    if path:
        # One write, so that the lines of suites that run side by side do not mix.
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{count} {name}\n")
