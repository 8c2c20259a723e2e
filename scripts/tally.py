"""What the suites tried, added up from the file they note it in: fails if one tried less than it has to.

    python scripts/tally.py FILE [PAGE]

Each line of the file is "count name". `LYREDB_TEST_EFFORT` scales what is demanded as it scales the suites. A PAGE gets
the table of what was tried, between its two comments "tally" and "end of tally".
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from pathlib import Path

# What a run of `make test` has to try at least.
WANTED = {
    "power-cut images": 100_000,
    "crashes during recovery": 50_000,
    "kill -9 rounds": 600,
    "acknowledged commits checked": 5_000,
    "injected faults": 60_000,
    "flipped bytes": 262_144,
    "truncations": 262_144,
    "other damages": 1_500,
    "salvaged databases": 5_000,
    "fuzzed inputs": 1_000_000,
    "schedules": 100_000,
    "orderings": 1_000,
    "transactions checked": 1_000_000,
    "interleavings": 45_000,
    "audits": 3_000,
    "pairs of settings": 10_000,
    "operations with random budgets": 48_000,
    "records written over in churn": 500_000,
    "folders read by the independent reader": 150,
}
BETWEEN = re.compile(r"(<!-- tally -->\n).*?(<!-- end of tally -->)", re.DOTALL)


def read(path: Path) -> Counter[str]:
    tried = Counter[str]()
    for line in path.read_text().splitlines():
        count, name = line.split(maxsplit=1)
        tried[name] += int(count)
    return tried


def shortcomings(tried: Counter[str], effort: float) -> list[str]:
    unknown = [f"nothing in {__file__} says how many {name} there have to be" for name in tried.keys() - WANTED.keys()]
    return unknown + [
        f"{tried[name]:,} {name}, not {wanted * effort:,.0f}"
        for name, wanted in WANTED.items()
        if tried[name] < wanted * effort
    ]


def table(tried: Counter[str]) -> str:
    rows = "".join(f"| {name} | {tried[name]:,} |\n" for name in WANTED)
    return f"| tried | in one run |\n| --- | ---: |\n{rows}"


def main(path: str, page: str | None = None) -> int:
    tried = read(Path(path))
    lacking = shortcomings(tried, float(os.environ.get("LYREDB_TEST_EFFORT", "1")))
    for what in lacking:
        print(f"error: {what}", file=sys.stderr)
    if lacking:
        return 1
    width = max(map(len, WANTED))
    print("tried, and nothing found:")
    for name in WANTED:
        print(f"  {name:<{width}} {tried[name]:>11,}")
    if page:
        file = Path(page)
        text, count = BETWEEN.subn(lambda found: found[1] + table(tried) + found[2], file.read_text())
        if count != 1:
            print(f"error: {page} has no place for the table", file=sys.stderr)
            return 1
        file.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
