"""Sizes as people write them."""

from __future__ import annotations

import re

_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_PATTERN = re.compile(r"\s*(\d+)\s*([A-Za-z]*)\s*")


def parse_size(text: str) -> int:
    """Bytes in a size such as "64 MiB", "8GiB" or "4096".

    Raises:
        ValueError: The text is no such size.
    """
    match = _PATTERN.fullmatch(text)
    unit = {name.lower(): factor for name, factor in _UNITS.items()}.get((match[2] or "B").lower()) if match else None
    if match is None or unit is None:
        raise ValueError(f"{text!r} is not a size such as '64 MiB' (units: {', '.join(_UNITS)})")
    return int(match[1]) * unit


def format_size(count: int) -> str:
    """The shortest exact form of a number of bytes, or one decimal where none is exact."""
    for name, factor in reversed(_UNITS.items()):
        if count >= factor:
            return f"{count // factor} {name}" if count % factor == 0 else f"{count / factor:.1f} {name}"
    return "0 B"
