"""The bulk forms of a scan: Arrow and numpy columns over the engine's own buffers."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lyredb._engine import NativeBuffer, Scan
from lyredb.db.errors import ConfigError

if TYPE_CHECKING:
    import numpy
    import pyarrow

_NAMES = ("key", "value")
_ROWS_PER_CHUNK = 65_536


def _module(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(f"this needs the package {name}", suggestion=f"pip install lyredb[{extra}]") from None


def _wanted(scan: Scan[Any, Any, Any]) -> list[tuple[str, str]]:
    """(column name, codec name) of the columns that the scan has."""
    both: list[tuple[str, str]] = list(zip(_NAMES, scan.codec_names, strict=True))
    return {"items": both, "keys": both[:1], "values": both[1:]}[scan.columns]


def _arrow_type(arrow: Any, codec: str) -> Any:
    """JSON is text too; what Arrow has no type for stays the bytes that are stored."""
    if codec in ("str", "json"):
        return arrow.string()
    return arrow.int64() if codec == "int" else arrow.binary()


def _arrow_array(arrow: Any, kind: Any, rows: int, buffers: tuple[NativeBuffer, ...]) -> Any:
    return arrow.Array.from_buffers(kind, rows, [None, *(arrow.py_buffer(buffer) for buffer in buffers)])


def batches(scan: Scan[Any, Any, Any], rows: int = _ROWS_PER_CHUNK) -> Iterator[pyarrow.RecordBatch]:
    """Arrow record batches of up to `rows` rows (fewer where those would pass some 64 MiB)."""
    if rows <= 0:
        raise ValueError(f"rows must be positive, not {rows}")
    arrow = _module("pyarrow", "arrow")
    return _batches(arrow, _schema(arrow, scan), scan, rows)


def _schema(arrow: Any, scan: Scan[Any, Any, Any]) -> Any:
    return arrow.schema([arrow.field(name, _arrow_type(arrow, codec), False) for name, codec in _wanted(scan)])


def _batches(arrow: Any, schema: Any, scan: Scan[Any, Any, Any], rows: int) -> Iterator[Any]:
    while True:
        fetched = scan.fetch_columns(rows)
        if fetched is None:
            return
        count, *columns = fetched
        present = [column for column in columns if column is not None]
        arrays = [
            _arrow_array(arrow, field.type, count, buffers) for field, buffers in zip(schema, present, strict=True)
        ]
        yield arrow.RecordBatch.from_arrays(arrays, schema=schema)


def to_arrow(scan: Scan[Any, Any, Any]) -> pyarrow.Table:
    """All (remaining) rows as an Arrow table."""
    arrow = _module("pyarrow", "arrow")
    schema = _schema(arrow, scan)
    return arrow.Table.from_batches(_batches(arrow, schema, scan, _ROWS_PER_CHUNK), schema=schema)


def to_numpy(scan: Scan[Any, Any, Any]) -> Any:
    """All (remaining) rows as numpy arrays: one for a scan of keys or of values, a pair of them for one of both."""
    numpy = _module("numpy", "arrow")
    wanted = _wanted(scan)
    pieces: list[list[Any]] = [[] for _ in wanted]
    while (fetched := scan.fetch_columns(_ROWS_PER_CHUNK)) is not None:
        _, *columns = fetched
        for into, column in zip(pieces, (column for column in columns if column is not None), strict=True):
            into.append(column)
    arrays = [_numpy_array(numpy, codec, parts) for (_, codec), parts in zip(wanted, pieces, strict=True)]
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def _numpy_array(numpy: Any, codec: str, parts: list[tuple[NativeBuffer, ...]]) -> numpy.ndarray[Any, Any]:
    if codec == "int":
        columns = [numpy.frombuffer(part[0], dtype=numpy.int64) for part in parts]
        return numpy.concatenate(columns) if columns else numpy.empty(0, dtype=numpy.int64)
    offsets = [numpy.frombuffer(part[0], dtype=numpy.int32) for part in parts]
    width = _common_width(numpy, offsets)
    if codec == "bytes" and width:
        data = [numpy.frombuffer(part[1], dtype=f"V{width}") for part in parts]
        return numpy.concatenate(data)
    array = numpy.empty(sum(len(ends) - 1 for ends in offsets), dtype=object)
    at = 0
    for ends, part in zip(offsets, parts, strict=True):
        data = _bytes(part[1])
        for start, stop in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            item = data[start:stop]
            array[at] = item.decode() if codec in ("str", "json") else item
            at += 1
    return array


def _bytes(buffer: Any) -> bytes:
    return bytes(buffer)


def _common_width(numpy: Any, offsets: list[Any]) -> int:
    """The width of all rows in bytes, or 0 when they differ or there are none."""
    widths = {int(ends[1] - ends[0]) for ends in offsets}
    if len(widths) != 1:
        return 0
    width = widths.pop()
    return width if all(bool(numpy.all(numpy.diff(ends) == width)) for ends in offsets) else 0
