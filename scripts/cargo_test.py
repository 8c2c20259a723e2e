"""`cargo test` with the given arguments, which fails as well if a suite runs no test."""

from __future__ import annotations

import os
import re
import subprocess
import sys

_SUITE = re.compile(r"\s*(?:Running|Doc-tests) (\S+)(?: (\S+))?")
_COUNT = re.compile(r"running (\d+) tests?")

# Optimised, since the tests are long; with the checks of a debug build, since they are tests.
_PROFILE = {
    "CARGO_PROFILE_TEST_OPT_LEVEL": "2",
    "CARGO_PROFILE_TEST_DEBUG": "line-tables-only",
    "CARGO_INCREMENTAL": "0",
}


def main() -> int:
    command = ["cargo", "test", *sys.argv[1:]]
    environment = {**_PROFILE, **os.environ}
    suite, counts = "?", dict[str, int]()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as cargo:
        assert cargo.stdout is not None
        for line in cargo.stdout:
            print(line, end="", flush=True)
            if found := _SUITE.match(line):
                suite = found[2] if found[1] == "unittests" else found[1]
            elif found := _COUNT.match(line):
                counts[suite] = counts.get(suite, 0) + int(found[1])
    if cargo.returncode:
        return cargo.returncode
    # A library without unit tests, or without examples in its docs, is no mistake; a file of tests without tests is.
    empty = [name for name, count in counts.items() if name.startswith("tests") and count == 0]
    for name in empty:
        print(f"error: {name} ran no test", file=sys.stderr)
    if not sum(counts.values()):
        print("error: no test was run", file=sys.stderr)
        return 1
    return 1 if empty else 0


if __name__ == "__main__":
    sys.exit(main())
