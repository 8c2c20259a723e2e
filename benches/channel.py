"""What a measuring process writes to the one that started it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def channel() -> Iterator[TextIO]:
    """Standard output, for answers alone: from now on what a store prints goes to the errors."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        yield answers


def last_words(errors: str, status: int) -> str:
    """Why a process failed: the end of what it wrote."""
    lines = errors.strip().splitlines()[-3:]
    return " / ".join(lines) or f"ended with {status}"
