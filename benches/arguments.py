"""What command lines of several programs have in common."""

from __future__ import annotations

import argparse
from collections.abc import Iterable


def names(known: Iterable[str], text: str) -> list[str]:
    """Of `known`, in its order, what a list with commas names."""
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; choose from {', '.join(known)}")
    return [name for name in known if name in wanted]


def positive(text: str) -> int:
    """A count, in which `_` and `,` may group digits."""
    value = int(text.replace("_", "").replace(",", ""))
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value
