"""Arrow and numpy columns into a family, without a Python object a row where the codec allows it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from lyredb import _engine

if TYPE_CHECKING:
    Target: TypeAlias = _engine.Family[Any, Any] | _engine.TransactionFamily[Any, Any]


def write(target: Target, items: Any, ttl: Any) -> None:
    """What `write_batch` does: finds out what it was given, and hands it down."""
    pair = _columns(items)
    if pair is None:
        target.write_pairs(items, ttl=ttl)
        return
    keys, values = pair
    if len(keys) != len(values):
        raise ValueError(f"{len(keys)} keys and {len(values)} values")
    key_column = _native(keys, target.key_codec.name)
    value_column = _native(values, target.value_codec.name)
    if key_column is None or value_column is None:
        target.write_pairs(zip(_objects(keys), _objects(values), strict=True), ttl=ttl)
    else:
        target.write_columns(key_column, value_column, ttl=ttl)


def _columns(items: Any) -> tuple[Any, Any] | None:
    """The two columns, if that is what `items` is."""
    if isinstance(items, tuple):
        pair = cast("tuple[Any, ...]", items)
        if len(pair) == 2 and _is_column(pair[0]) and _is_column(pair[1]):
            return _one_piece(pair[0]), _one_piece(pair[1])
        return None
    if isinstance(items, (list, dict)):
        return None
    arrow = _loaded("pyarrow")
    if hasattr(items, "__arrow_c_stream__") and not _is_column(items):
        arrow = _module("pyarrow")
        items = arrow.table(items)
    if arrow is not None and isinstance(items, (arrow.Table, arrow.RecordBatch)):
        if items.num_columns != 2:
            raise ValueError(f"the table must have two columns, keys and values, not {items.num_columns}")
        return _one_piece(items.column(0)), _one_piece(items.column(1))
    return None


def _module(name: str) -> Any:
    """numpy or pyarrow, untyped: they are optional, and imported only for those who hand us their arrays."""
    return importlib.import_module(name)


def _loaded(name: str) -> Any:
    """The module if anybody imported it; without it, nothing can be one of its arrays."""
    return sys.modules.get(name)


def _is_column(item: Any) -> bool:
    arrow = _loaded("pyarrow")
    if arrow is not None and isinstance(item, (arrow.Array, arrow.ChunkedArray)):
        return True
    numpy = _loaded("numpy")
    if numpy is not None and isinstance(item, numpy.ndarray):
        return True
    return hasattr(item, "__arrow_c_array__")


def _one_piece(column: Any) -> Any:
    """A numpy array, or an Arrow array that is not chunked and has no nulls."""
    numpy = _loaded("numpy")
    if numpy is not None and isinstance(column, numpy.ndarray):
        return column
    pyarrow = _module("pyarrow")
    if isinstance(column, pyarrow.ChunkedArray):
        if column.num_chunks == 1:
            column = column.chunk(0)
        else:
            column = pyarrow.concat_arrays(column.chunks) if column.num_chunks else pyarrow.array([], column.type)
    elif not isinstance(column, pyarrow.Array):
        column = pyarrow.array(column)
    if column.null_count:
        raise ValueError("a column of a batch must hold no nulls; leave those rows out")
    return column


def _objects(column: Any) -> Iterable[Any]:
    return column.tolist() if hasattr(column, "dtype") else column.to_pylist()


def _native(column: Any, codec: str) -> _engine.Column | None:
    """The column as buffers, or None where its rows must become Python objects first."""
    if codec not in ("bytes", "str", "int"):
        return None
    return _from_numpy(column, codec) if hasattr(column, "dtype") else _from_arrow(column, codec)


def _from_numpy(column: Any, codec: str) -> _engine.Column | None:
    numpy = _module("numpy")
    kind = column.dtype.kind
    rows = len(column)
    if codec == "int" and kind in "iu" and column.ndim == 1:
        if kind == "u" and column.dtype.itemsize == 8:
            return None
        data = numpy.ascontiguousarray(column, dtype=numpy.int64)
        return _engine.Column.integers(data.view(numpy.uint8), 0, rows)
    if codec != "bytes":
        return None
    if kind in "SV" and column.ndim == 1 and column.dtype.fields is None:
        width = column.dtype.itemsize
        data = numpy.ascontiguousarray(column)
        if width == 0 or rows == 0:
            return _engine.Column.fixed(b"", width, 0, rows)
        return _engine.Column.fixed(data.view(numpy.uint8), width, 0, rows, trim=kind == "S")
    if column.dtype == numpy.uint8 and column.ndim == 2:
        return _engine.Column.fixed(numpy.ascontiguousarray(column).reshape(-1), column.shape[1], 0, rows)
    return None


def _from_arrow(column: Any, codec: str) -> _engine.Column | None:
    pyarrow = _module("pyarrow")
    types = pyarrow.types
    kind = column.type
    if codec == "int":
        if not types.is_integer(kind) or types.is_uint64(kind):
            return None
        column = column.cast(pyarrow.int64())
        return _engine.Column.integers(column.buffers()[1] or b"", column.offset, len(column))
    text = types.is_string(kind) or types.is_large_string(kind)
    if codec == "str" and not text:
        return None
    if types.is_fixed_size_binary(kind):
        return _engine.Column.fixed(column.buffers()[1] or b"", kind.byte_width, column.offset, len(column))
    large = types.is_large_string(kind) or types.is_large_binary(kind)
    if not (text or large or types.is_binary(kind)):
        return None
    _, offsets, data = column.buffers()
    if offsets is None or len(column) == 0:
        return _engine.Column.variable(b"", b"\0" * 8, 8, 0, 0, text=text)
    return _engine.Column.variable(data or b"", offsets, 8 if large else 4, column.offset, len(column), text=text)
