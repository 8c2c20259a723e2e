"""Columns in and out."""

from __future__ import annotations

from typing import Any

import pytest

import lyredb

numpy: Any = pytest.importorskip("numpy")
pyarrow: Any = pytest.importorskip("pyarrow")

ROWS = 1000
KEYS = [at.to_bytes(4, "big") for at in range(ROWS)]
VALUES = [b"v" * (at % 7) for at in range(ROWS)]


@pytest.fixture
def filled(db: Any) -> Any:
    db.write_batch(zip(KEYS, VALUES, strict=True))
    return db


def test_to_arrow(filled: Any) -> None:
    table = filled.scan().to_arrow()
    assert table.schema == pyarrow.schema(
        [pyarrow.field("key", pyarrow.binary(), False), pyarrow.field("value", pyarrow.binary(), False)]
    )
    table.validate(full=True)
    assert table.column("key").to_pylist() == KEYS
    assert table.column("value").to_pylist() == VALUES
    assert filled.scan(reverse=True).keys().to_arrow().column("key").to_pylist() == KEYS[::-1]
    assert filled.scan().values().to_arrow().column_names == ["value"]
    empty = filled.scan(KEYS[3], KEYS[3]).to_arrow()
    assert empty.num_rows == 0
    assert empty.schema == table.schema


def test_rest_of_a_scan(filled: Any) -> None:
    rows = filled.scan()
    for _ in range(40):
        next(rows)
    assert rows.to_arrow().column("key").to_pylist() == KEYS[40:]
    assert next(rows, None) is None


def test_batches(filled: Any) -> None:
    batches = list(filled.scan().batches(rows=300))
    assert [batch.num_rows for batch in batches] == [300, 300, 300, 100]
    assert [key for batch in batches for key in batch.column(0).to_pylist()] == KEYS
    assert [batch.num_rows for batch in filled.scan(limit=450).batches(rows=300)] == [300, 150]
    assert list(filled.scan(limit=0).batches()) == []
    with pytest.raises(ValueError, match="rows"):
        filled.scan().batches(rows=0)


def test_codecs_to_arrow(db: Any) -> None:
    family = db.family("f", key="int", value="str")
    family.update({-5: "minus", 0: "", 7: "sieben ü"})
    table = family.scan().to_arrow()
    assert table.to_pydict() == {"key": [-5, 0, 7], "value": ["minus", "", "sieben ü"]}
    assert table.schema.field("value").type == pyarrow.string()
    assert family.scan().keys().to_numpy().tolist() == [-5, 0, 7]
    documents = db.family("d", key="tuple", value="json")
    documents[1,] = {"a": 1}
    assert documents.scan().to_arrow().column("value").to_pylist() == ['{"a":1}']
    family[2**64] = "big"
    for bulk in ("to_arrow", "to_numpy"):
        with pytest.raises(OverflowError):
            getattr(family.scan(), bulk)()


def test_to_numpy(filled: Any) -> None:
    keys, values = filled.scan().to_numpy()
    assert keys.dtype == numpy.dtype("V4")
    assert keys.view(">u4").tolist() == list(range(ROWS))
    assert values.dtype == object
    assert values.tolist() == VALUES
    assert filled.scan().keys().to_numpy().tobytes() == b"".join(KEYS)
    assert filled.scan(limit=0).values().to_numpy().tolist() == []


@pytest.mark.parametrize("kind", ["binary", "large_binary", "fixed", "string", "chunked", "table", "batch", "sliced"])
def test_write_arrow(db: Any, kind: str) -> None:
    binary = pyarrow.array(KEYS, pyarrow.binary())
    values = pyarrow.array(VALUES, pyarrow.binary())
    expected = dict(zip(KEYS, VALUES, strict=True))
    given: Any = {
        "binary": lambda: (binary, values),
        "large_binary": lambda: (binary.cast(pyarrow.large_binary()), values),
        "fixed": lambda: (binary.cast(pyarrow.binary(4)), values),
        "string": lambda: (binary, values.cast(pyarrow.string())),
        "chunked": lambda: (pyarrow.chunked_array([binary[:10], binary[10:]]), values),
        "table": lambda: pyarrow.table({"k": binary, "v": values}),
        "batch": lambda: pyarrow.record_batch({"k": binary, "v": values}),
        "sliced": lambda: (binary[100:200], values[100:200]),
    }[kind]()
    db.write_batch(given)
    assert dict(db) == (dict(list(expected.items())[100:200]) if kind == "sliced" else expected)


def test_write_numpy(db: Any) -> None:
    fixed = numpy.frombuffer(b"".join(KEYS), dtype="V4")
    db.write_batch((fixed, fixed))
    assert dict(db) == dict(zip(KEYS, KEYS, strict=True))
    db.clear()
    db.write_batch((numpy.array([b"ab", b"c\0d", b"e\0\0"]), numpy.array([[1, 2], [3, 4], [0, 0]], dtype=numpy.uint8)))
    assert dict(db) == {b"ab": b"\1\2", b"c\0d": b"\3\4", b"e": b"\0\0"}
    db.clear()
    db.write_batch((fixed[::2], fixed[1::2]))
    assert list(db) == KEYS[::2]


def test_write_typed(db: Any) -> None:
    family = db.family("i", key="int", value="str")
    numbers = [3, -1, 2**40]
    family.write_batch((numpy.array(numbers), pyarrow.array(["a", "b", "c"])))
    family.write_batch((pyarrow.array([9], pyarrow.int32()), pyarrow.array(["neun"])))
    family.write_batch((numpy.array([2**63], dtype=numpy.uint64), numpy.array(["big"])))
    assert dict(family) == {-1: "b", 3: "a", 9: "neun", 2**40: "c", 2**63: "big"}
    documents = db.family("d", key="tuple", value="json")
    with pytest.raises(TypeError):
        documents.write_batch((pyarrow.array(["x"]), pyarrow.array(["y"])))
    with db.transaction() as t:
        t.family("i").write_batch((numpy.array([4]), pyarrow.array(["vier"])))
    assert family[4] == "vier"


def test_wrong_columns_change_nothing(db: Any) -> None:
    one = pyarrow.array([b"a"])
    for bad in (
        (one, pyarrow.array([b"a", b"b"])),
        (one, pyarrow.array([None], pyarrow.binary())),
        pyarrow.table({"a": one}),
        (one, pyarrow.array([1])),
        (pyarrow.array([b"k" * 5000]), one),
    ):
        with pytest.raises((TypeError, ValueError)):
            db.write_batch(bad)
    assert not db
    db.write_batch((one[:0], one[:0]))
    assert not db


def test_round_trip(filled: Any, tmp_path: Any) -> None:
    with lyredb.open(tmp_path / "copy") as copy:
        for batch in filled.scan().batches(rows=99):
            copy.write_batch(batch)
        assert copy == filled


def test_buffers_outlive_the_database(filled: Any) -> None:
    table = filled.scan().to_arrow()
    filled.close()
    assert table.column("key").to_pylist() == KEYS
