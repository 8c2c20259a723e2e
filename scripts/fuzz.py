"""Builds the fuzzers in `fuzz/` with a stable toolchain, and runs all of them, or those that are named.

    python scripts/fuzz.py [--seconds 70] [--minimise] [TARGET ...]

The seconds are those of all targets together, on all processors; `LYREDB_TEST_EFFORT` scales the default. What is new
goes to a corpus beside the build, and what makes a target fail to `fuzz/regressions/TARGET`, which the engine's tests
replay. A target that tried too little fails too.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FUZZ = ROOT / "fuzz"
BUILD = Path(os.environ.get("CARGO_TARGET_DIR", FUZZ / "target"))
# As cargo-fuzz has them, but for what only a nightly toolchain knows.
COVERAGE = (
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
)


class Target(NamedTuple):
    """How a target shares the time with the others, and what it has to do with it."""

    share: float
    longest_bytes: int
    least_runs_a_second: int


TARGETS = {
    "catalogue": Target(1, 2048, 1000),
    "codecs": Target(1, 1024, 20),
    "database": Target(4, 4096, 5),
    "inner": Target(1, 2048, 1000),
    "leaf": Target(1, 2048, 500),
    "log_folder": Target(2, 1024, 20),
    "log_headers": Target(0.5, 128, 1000),
    "numbers": Target(1, 256, 500),
    "page": Target(1, 512, 200),
    "page_folder": Target(3, 2048, 20),
    "record": Target(1, 2048, 1000),
    "superblocks": Target(1, 512, 100),
}


def build() -> Path:
    """The folder of the fuzzers."""
    version = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    host = re.search(r"^host: (.*)$", version, re.MULTILINE)
    assert host is not None
    # With a target named, build scripts and macros are not instrumented.
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--bins", "--target", host[1]]
    environment = {**os.environ, "RUSTFLAGS": " ".join(COVERAGE), "CARGO_TARGET_DIR": str(BUILD)}
    subprocess.run(command, cwd=FUZZ, env=environment, check=True)
    return BUILD / host[1] / "release"


def corpus_of(name: str) -> list[Path]:
    """What there is to begin with; what is found is added to the first."""
    folders = [BUILD / "fuzz-corpus" / name, BUILD / "fuzz-seeds" / name]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    return folders + [folder for kind in ("corpus", "regressions") if (folder := FUZZ / kind / name).is_dir()]


def environment_of(name: str) -> dict[str, str]:
    return {**os.environ, "LYREDB_FUZZ_SEEDS": str(BUILD / "fuzz-seeds" / name)}


def run(program: Path, name: str, seconds: float) -> tuple[str, int, str | None]:
    """The target's name, how many inputs it ran, and what is wrong."""
    target = TARGETS[name]
    found = FUZZ / "regressions" / name
    found.mkdir(parents=True, exist_ok=True)
    log = BUILD / f"fuzz-{name}.log"
    command = [
        str(program),
        *map(str, corpus_of(name)),
        f"-max_total_time={max(1, round(seconds))}",
        f"-max_len={target.longest_bytes}",
        f"-artifact_prefix={found}{os.sep}",
        "-print_final_stats=1",
        "-timeout=25",
        "-len_control=0",
        "-rss_limit_mb=2048",
    ]
    with log.open("w") as output:
        code = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment_of(name), check=False
        ).returncode
    if not any(found.iterdir()):
        found.rmdir()
    text = log.read_text(errors="replace")
    runs = re.search(r"stat::number_of_executed_units: *(\d+)", text)
    count = int(runs[1]) if runs else 0
    least = round(target.least_runs_a_second * seconds)
    if code:
        return name, count, f"failed:\n{text[-4000:]}"
    if count < least:
        return name, count, f"ran {count} inputs of {least}"
    return name, count, None


def minimise(program: Path, name: str) -> None:
    """Keeps in the checkout the fewest inputs that reach all that was reached."""
    kept = FUZZ / "corpus" / name
    fresh = BUILD / "fuzz-minimised" / name
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    # By edges alone: how often each was passed would keep ten times as many.
    merge = [
        str(program),
        "-set_cover_merge=1",
        "-use_counters=0",
        "-rss_limit_mb=2048",
        str(fresh),
        *map(str, corpus_of(name)),
    ]
    subprocess.run(merge, env=environment_of(name), check=True, capture_output=True)
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(fresh, kept)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    effort = float(os.environ.get("LYREDB_TEST_EFFORT", "1"))
    parser.add_argument("--seconds", type=float, default=70 * effort, help="for all targets together (default: 70)")
    parser.add_argument("--minimise", action="store_true", help="instead of fuzzing, renew fuzz/corpus")
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], metavar="TARGET", help=", ".join(TARGETS))
    arguments = parser.parse_args()
    names = arguments.targets or list(TARGETS)
    began = time.monotonic()
    folder = build()
    print(f"built in {time.monotonic() - began:.0f} s", flush=True)
    processors = os.cpu_count() or 1
    # The longest first, so that none is left alone at the end.
    names.sort(key=lambda name: -TARGETS[name].share)
    shares = sum(TARGETS[name].share for name in names)
    total, broken = 0, 0
    began = time.monotonic()
    with ThreadPoolExecutor(processors) as pool:
        if arguments.minimise:
            list(pool.map(lambda name: minimise(folder / name, name), names))
            return 0

        def fuzz(name: str) -> tuple[str, int, str | None]:
            share = TARGETS[name].share / shares * min(processors, len(names))
            return run(folder / name, name, arguments.seconds * share)

        for name, count, trouble in pool.map(fuzz, names):
            total += count
            print(f"{name:<12} {count:>11,} inputs{'' if trouble is None else '  ' + trouble}", flush=True)
            broken += trouble is not None
    print(f"{total} fuzzed inputs in {time.monotonic() - began:.0f} s", flush=True)
    if tally := os.environ.get("LYREDB_TALLY"):
        with Path(tally).open("a") as file:
            file.write(f"{total} fuzzed inputs\n")
    if broken:
        print(f"error: {broken} targets; what they failed on is in fuzz/regressions", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
