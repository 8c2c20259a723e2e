"""Traces as the engine takes them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    from typing_extensions import Buffer

    Integers: TypeAlias = Buffer


def integers(values: Integers | Iterable[int]) -> Integers:
    """A buffer as it is, other integers in one of 64 bits each."""
    try:
        return memoryview(cast("Integers", values))
    except TypeError:
        return array("Q", cast("Iterable[int]", values))
