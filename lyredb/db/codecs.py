"""How Python objects become the bytes of keys and values.

| codec | objects | as keys | bytes |
| --- | --- | --- | --- |
| `"bytes"` | `bytes` and any contiguous buffer; read back as `bytes` | byte by byte | themselves |
| `"str"` | `str` | as `str` sorts (by code point) | UTF-8 |
| `"int"` | `int` of any size | as `int` sorts | below |
| `"tuple"` | `tuple` of `None`, `bool`, `int`, `float`, `str`, `bytes`, tuples | as `tuple` sorts | below |
| `"json"` | what `json` takes | values only: JSON text has no useful order | UTF-8 JSON |
| `"msgpack"` | what `msgpack` takes | values only, for the same reason | MessagePack |
| an object with `encode` and `decode` | anything | if its `ordered` is true | what `encode` returns |

**Integers.** `40` is zero. A positive integer is `40+n`, then its n bytes, big-endian (n up to 48); a longer one is
`71`, a 32-bit length, its bytes. A negative one is the mirror image of its magnitude: `40-n` (or `0F`), and all later
bytes complemented. An integer of up to 64 bits takes 1 to 9 bytes.

**Tuples.** The elements one after the other. `01` is None. A number is an integer as above; one that is not whole is
the integer below it, `FF`, and its binary fraction, seven bits a byte, the lowest bit of each byte telling whether
another follows. `0E` and `72` are the infinities; NaN is refused. `80` begins a str, `81` bytes, `82` a tuple within:
each ends with `00`, and in strs and bytes `00` is written `01 01`, and `01` as `01 02`. Values of different kinds,
which Python refuses to compare, sort in this order: None, numbers, str, bytes, tuples.

As in a dict, `True`, `1` and `1.0` are one and the same in a key; they read back as `1` (and `2.0` as `2`).
"""

from __future__ import annotations

import importlib
import json
from typing import Any, Protocol, TypeAlias, runtime_checkable

from lyredb import _engine
from lyredb.db.errors import ConfigError


@runtime_checkable
class Codec(Protocol):
    """A codec of your own.

    Attributes:
        ordered: Whether the bytes compare as the objects do. Only then may it encode keys.
    """

    ordered: bool

    def encode(self, value: Any, /) -> bytes:
        """The bytes of an object; equal objects must give equal bytes."""
        ...

    def decode(self, data: bytes, /) -> Any:
        """The object of the bytes."""
        ...


CodecLike: TypeAlias = "str | Codec"

ORDERED_NAMES = ("bytes", "str", "int", "tuple")
NAMES = (*ORDERED_NAMES, "json", "msgpack")


def name_of(codec: CodecLike) -> str:
    """The name a database remembers a codec by: `codec.name` if it has one, or where its class is defined."""
    if isinstance(codec, str):
        return codec
    own = getattr(codec, "name", None)
    if isinstance(own, str):
        return own
    kind = type(codec)
    return f"{kind.__module__}.{kind.__qualname__}"


def resolve(codec: CodecLike, *, role: str) -> _engine.Codec:
    """The native codec for a name or an object; `role` is "key" or "value".

    Raises:
        ConfigError: There is no such codec, or it cannot serve as a key.
        TypeError: It is neither a name nor has the methods of a codec.
    """
    if isinstance(codec, str):
        return _built_in(codec, role)
    if not isinstance(codec, Codec):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"a {role} codec must be one of {', '.join(NAMES)} or an object with encode, decode and ordered, "
            f"not {type(codec).__qualname__}"
        )
    name = name_of(codec)
    if name in NAMES:
        raise ConfigError(f"a codec of your own may not be named {name!r}, like a built-in one")
    if role == "key" and not codec.ordered:
        raise ConfigError(
            f"codec {name} says that it is not ordered, so its bytes cannot be keys",
            suggestion="if its bytes do compare as its objects do, set its attribute ordered to True",
        )
    return _engine.Codec.of(name, codec.encode, codec.decode)


def _built_in(name: str, role: str) -> _engine.Codec:
    if name not in NAMES:
        raise ConfigError(f"there is no codec {name!r}", suggestion=f"the names are {', '.join(NAMES)}")
    if role == "key" and name not in ORDERED_NAMES:
        raise ConfigError(
            f"{name!r} cannot encode keys: its bytes do not sort as the objects do",
            suggestion=f"use one of {', '.join(ORDERED_NAMES)}",
        )
    if name == "json":
        encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
        return _engine.Codec.of("json", encode, json.JSONDecoder().decode, text=True)
    if name == "msgpack":
        return _msgpack()
    return _engine.Codec(name)


def _msgpack() -> _engine.Codec:
    try:
        module: Any = importlib.import_module("msgpack")
    except ImportError:
        raise ConfigError(
            "codec 'msgpack' needs the package msgpack", suggestion="pip install lyredb[msgpack]"
        ) from None

    def unpack(data: bytes) -> Any:
        return module.unpackb(data, strict_map_key=False)

    return _engine.Codec.of("msgpack", module.packb, unpack)
