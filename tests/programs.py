"""Runs a program of a few lines in an interpreter of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def run(program: str, *arguments: object, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(program)]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=seconds
    )


def output(program: str, *arguments: object) -> str:
    """What it prints, if it ends well and says nothing of errors."""
    done = run(program, *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout
