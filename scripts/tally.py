"""What the suites tried, added up from the file they note it in: fails if one tried less than it has to.

    python scripts/tally.py FILE

Each line of the file is "count name". `LYREDB_TEST_EFFORT` scales what is demanded as it scales the suites.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

# What a run of `make test` has to try at least.
WANTED = {
    "power-cut images": 100_000,
    "crashes during recovery": 50_000,
    "injected faults": 60_000,
    "pairs of settings": 10_000,
    "schedules": 100_000,
    "orderings": 1_000,
    "records written over in churn": 500_000,
    "kill -9 rounds": 600,
    "acknowledged commits checked": 5_000,
    "folders read by the independent reader": 150,
    "transactions checked": 1_000_000,
    "interleavings": 45_000,
    "audits": 3_000,
    "fuzzed inputs": 200_000,
    "flipped bytes": 262_144,
    "truncations": 262_144,
    "other damages": 1_500,
    "salvaged databases": 5_000,
}


def main(path: str) -> int:
    effort = float(os.environ.get("LYREDB_TEST_EFFORT", "1"))
    tried = Counter[str]()
    for line in Path(path).read_text().splitlines():
        count, name = line.split(maxsplit=1)
        tried[name] += int(count)
    for name in WANTED.keys() | tried.keys():
        if name not in WANTED:
            print(f"error: nothing in {__file__} says how many {name} there have to be", file=sys.stderr)
        elif tried[name] < WANTED[name] * effort:
            print(f"error: {tried[name]} {name} of {WANTED[name] * effort:.0f}", file=sys.stderr)
        else:
            continue
        return 1
    width = max(map(len, WANTED))
    print("tried, and nothing found:")
    for name in WANTED:
        print(f"  {name:<{width}} {tried[name]:>11,}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
