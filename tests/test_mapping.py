"""A family is a MutableMapping in key order."""

from __future__ import annotations

import importlib.util
import pickle
import shutil
import tempfile
import time
import unittest
from collections.abc import Mapping, MutableMapping
from typing import Any

import pytest

import lyredb

DATA = {b"a": b"1", b"b": b"2", b"c": b"3"}


@pytest.fixture
def filled(db: Any) -> Any:
    db.update(DATA)
    return db


def test_reads(filled: Any) -> None:
    assert filled[b"a"] == b"1"
    assert filled.get(b"a") == b"1"
    assert filled.get(b"x") is None
    assert filled.get(b"x", b"y") == b"y"
    assert filled.get(b"x", default=b"y") == b"y"
    assert b"a" in filled
    assert b"x" not in filled
    assert len(filled) == 3
    assert filled
    with pytest.raises(KeyError) as missing:
        filled[b"x"]
    assert missing.value.args == (b"x",)


def test_writes(db: Any) -> None:
    assert not db
    db[b"k"] = b"v"
    assert db.put(b"k", b"w") is None
    assert db[b"k"] == b"w"
    assert db.delete(b"k") is True
    assert db.delete(b"k") is False
    with pytest.raises(KeyError):
        del db[b"k"]
    assert len(db) == 0


def test_merging_in_place(filled: Any) -> None:
    same = filled
    filled |= {b"c": b"4", b"d": b"5"}
    assert filled is same
    assert dict(filled) == {**DATA, b"c": b"4", b"d": b"5"}
    with filled.transaction() as t:
        t |= [(b"e", b"6")]
    assert filled[b"e"] == b"6"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_like(db: Any, kind: Any) -> None:
    db[kind(b"key")] = kind(b"value")
    assert db[b"key"] == b"value"
    assert type(db[kind(b"key")]) is bytes
    assert kind(b"key") in db
    del db[kind(b"key")]


def test_buffers(db: Any) -> None:
    import array

    numbers = array.array("d", [1.0, 2.0])
    db[b"array"] = numbers
    assert db[b"array"] == numbers.tobytes()
    db[b"slice"] = memoryview(b"0123456789")[2:5]
    assert db[b"slice"] == b"234"
    with pytest.raises(ValueError, match="contiguous"):
        db[b"stride"] = memoryview(b"0123456789")[::2]


def test_empty_and_large(db: Any) -> None:
    db[b""] = b""
    large = bytes(range(256)) * 40_000
    db[b"\xff" * lyredb.MAX_KEY_BYTES] = large
    assert db[b""] == b""
    assert db[b"\xff" * lyredb.MAX_KEY_BYTES] == large
    assert len(db) == 2


def test_views(filled: Any) -> None:
    assert list(filled) == list(DATA)
    assert list(filled.keys()) == list(DATA)
    assert list(filled.values()) == list(DATA.values())
    assert list(filled.items()) == list(DATA.items())
    assert list(reversed(filled)) == list(reversed(DATA))
    assert list(reversed(filled.items())) == list(reversed(DATA.items()))
    assert filled.keys() & {b"a", b"z"} == {b"a"}
    assert b"2" in filled.values()
    assert (b"a", b"1") in filled.items()
    assert isinstance(filled, MutableMapping)


def test_equality(filled: Any) -> None:
    assert filled == DATA
    assert filled != {**DATA, b"d": b"4"}
    assert filled != {b"a": b"1"}
    assert filled != 1
    with pytest.raises(TypeError):
        hash(filled)


def test_sorted_conveniences(filled: Any) -> None:
    assert filled.first() == (b"a", b"1")
    assert filled.last() == (b"c", b"3")
    assert [filled.peekitem(at)[0] for at in (0, 1, 2, -1, -2, -3)] == [b"a", b"b", b"c", b"c", b"b", b"a"]
    for beyond in (3, -4):
        with pytest.raises(IndexError):
            filled.peekitem(beyond)
    assert filled.popitem() == (b"c", b"3")
    assert filled.popitem(index=0) == (b"a", b"1")
    assert filled.pop(b"b") == b"2"
    with pytest.raises(KeyError):
        filled.popitem()
    with pytest.raises(KeyError):
        filled.pop(b"b")
    assert filled.pop(b"b", None) is None
    assert filled.first() is None
    assert filled.setdefault(b"n", b"new") == b"new"
    assert filled.setdefault(b"n", b"other") == b"new"
    filled.clear()
    assert not filled


def test_multi_get(filled: Any) -> None:
    assert filled.multi_get([b"c", b"x", b"a", b"a"]) == [b"3", None, b"1", b"1"]
    assert filled.multi_get((key for key in (b"x", b"b")), default=0) == [0, b"2"]
    assert filled.multi_get([]) == []
    many = [b"a", b"b", b"c", b"d"] * 50
    assert filled.multi_get(many) == [DATA.get(key) for key in many]


def test_batches(db: Any) -> None:
    db.write_batch([(b"a", b"1"), [b"b", b"2"], (b"a", b"3")])
    db.write_batch({b"c": b"4"})
    db.write_batch((key, b"5") for key in (b"d", b"e"))
    assert dict(db) == {b"a": b"3", b"b": b"2", b"c": b"4", b"d": b"5", b"e": b"5"}
    before = dict(db)
    for bad in ([(b"x", b"1"), (b"y", 2)], [(b"x", b"1"), b"yz1"], [(b"x", b"1"), (b"y",)], 5, [(b"x", b"1"), None]):
        with pytest.raises((TypeError, ValueError)):
            db.write_batch(bad)
    assert dict(db) == before


def test_delete_range(db: Any) -> None:
    db.update({bytes([at]): b"" for at in range(10)})
    assert db.delete_range(b"\x02", b"\x05") == 3
    assert db.delete_range(b"\x05", b"\x05") == 0
    assert db.delete_range(b"\x09", b"\x01") == 0
    assert db.delete_range(stop=b"\x01") == 1
    assert db.delete_range(b"\x08") == 2
    assert list(db) == [b"\x01", b"\x05", b"\x06", b"\x07"]


def test_expiry(db: Any) -> None:
    db.put(b"short", b"", ttl=0.05)
    db.put(b"long", b"", ttl=100)
    db.put(b"ever", b"")
    assert b"short" in db
    assert 90 < db.time_to_live(b"long") <= 100
    assert db.time_to_live(b"ever") == float("inf")
    assert db.time_to_live(b"none") is None
    time.sleep(0.1)  # longer than the short one lives
    assert list(db) == [b"ever", b"long"]
    for bad in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="ttl"):
            db.put(b"k", b"", ttl=bad)
    with pytest.raises(TypeError):
        db.put(b"k", b"", ttl="1")


def test_update_forms(db: Any) -> None:
    words = db.family("words", key="str", value="int")
    words.update({"a": 1}, b=2)
    words.update([("c", 3)])
    words.update(d=4)

    class Keyed:
        def keys(self) -> list[str]:
            return ["e"]

        def __getitem__(self, key: str) -> int:
            return 5

    words.update(Keyed())
    assert dict(words) == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}


class AnyKey:
    """Keys of several types, as the protocol tests use them: a tuple of one, which has an order of its own."""

    ordered = True

    def encode(self, value: Any) -> bytes:
        return self._codec().encode((value,))

    def decode(self, data: bytes) -> Any:
        return self._codec().decode(data)[0]

    def _codec(self) -> Any:
        from lyredb import _engine

        return _engine.Codec("tuple")


class Pickled:
    """Values of any type."""

    ordered = False

    def encode(self, value: Any) -> bytes:
        return pickle.dumps(value)

    def decode(self, data: bytes) -> Any:
        return pickle.loads(data)


if importlib.util.find_spec("test") and importlib.util.find_spec("test.mapping_tests"):
    from test import mapping_tests

    class MappingProtocol(mapping_tests.BasicTestMappingProtocol):
        """CPython's own tests of what a mapping is."""

        def type2test(self) -> Any:
            folder = tempfile.mkdtemp()
            self.addCleanup(shutil.rmtree, folder)
            database = lyredb.open(folder, key=AnyKey(), value=Pickled())
            self.addCleanup(database.close)
            return database

        def _empty_mapping(self) -> Any:
            return self.type2test()

        def _full_mapping(self, data: Mapping[Any, Any]) -> Any:
            mapping = self.type2test()
            mapping.update(data)
            return mapping

    # The base class is imported by its module, so that pytest does not collect it on its own.
    TestMappingProtocol: type[unittest.TestCase] = MappingProtocol
    del MappingProtocol
