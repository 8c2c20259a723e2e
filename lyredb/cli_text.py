"""Keys and values as the command line takes and shows them."""

from __future__ import annotations

import json
from typing import Any, Protocol, cast

import click


class TextCodec(Protocol):
    """A family's `key_codec` or `value_codec`."""

    @property
    def name(self) -> str: ...
    def encode(self, value: Any) -> bytes: ...


def from_text(codec: TextCodec, text: str) -> Any:
    """What a key or value given on the command line is for a family's codec.

    Raises:
        click.UsageError: It does not fit.
    """
    if codec.name == "bytes":
        return text.encode(errors="surrogateescape")
    if codec.name == "str":
        return text
    try:
        found = json.loads(text)
    except ValueError:
        raise click.UsageError(f"the family's codec is {codec.name!r}, so give JSON, not {text!r}") from None
    if codec.name == "tuple":
        found = _as_tuple(found)
    try:
        codec.encode(found)
    except (TypeError, ValueError) as error:
        raise click.UsageError(f"{text} does not fit the family's codec {codec.name!r}: {error}") from None
    return found


def _as_tuple(found: Any) -> Any:
    """JSON has lists where Python has tuples."""
    return tuple(map(_as_tuple, cast("list[Any]", found))) if isinstance(found, list) else found


def plain(item: Any) -> Any:
    """What JSON can hold: bytes become text, or {"hex": ...} where they are none."""
    if isinstance(item, bytes):
        try:
            return item.decode()
        except UnicodeDecodeError:
            return {"hex": item.hex()}
    if isinstance(item, (list, tuple)):
        return [plain(each) for each in cast("list[Any]", item)]
    if isinstance(item, dict):
        return {str(key): plain(each) for key, each in cast("dict[Any, Any]", item).items()}
    return item if isinstance(item, (str, int, float, bool, type(None))) else str(item)


def shown(item: Any) -> str:
    """One line of text."""
    found = plain(item)
    if isinstance(item, bytes) and isinstance(found, dict):
        return f"0x{item.hex()}"
    return found if isinstance(found, str) and found.isprintable() else json.dumps(found, ensure_ascii=False)


def shown_range(start: bytes, stop: bytes | None) -> str:
    """Both keys in one form: as text if both are, else as hexadecimal digits."""
    if stop == start + b"\x00":
        return f"key {shown(start)}"
    bounds = [key for key in (start, stop) if key]
    texts = [plain(key) for key in bounds]
    as_text = all(isinstance(each, str) and each.isprintable() for each in texts)
    first, last = ((shown(key) if as_text else f"0x{key.hex()}") if key else "" for key in (start, stop))
    return f"keys {f'from {first}' if first else 'from the first'} {f'to before {last}' if last else 'to the last'}"
