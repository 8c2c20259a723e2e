"""Codecs keep order and give back what went in."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lyredb
from lyredb import _engine
from lyredb.db import codecs

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
INTEGERS = st.one_of(
    st.integers(), st.integers(-300, 300), st.integers(-(2**70), 2**70), st.integers(-(2**900), 2**900)
)
FLOATS = st.one_of(st.floats(allow_nan=False), st.integers(-10, 10).map(float), st.floats(-2, 2))
NUMBERS = st.one_of(INTEGERS, FLOATS, st.booleans())


def encode(codec: str, value: Any) -> bytes:
    return codecs.resolve(codec, role="value").encode(value)


def decode(codec: str, data: bytes) -> Any:
    return codecs.resolve(codec, role="value").decode(data)


@given(st.lists(INTEGERS, min_size=2))
def test_int(values: list[int]) -> None:
    assert [decode("int", encode("int", value)) for value in values] == values
    assert sorted(values, key=lambda value: encode("int", value)) == sorted(values)


@pytest.mark.parametrize("edge", [0, 2**7, 2**8, 2**63, 2**64, 2**384, 2**392, 2**5000])
def test_int_edges(edge: int) -> None:
    values = sorted({sign * edge + near for sign in (-1, 1) for near in (-2, -1, 0, 1, 2)})
    encoded = [encode("int", value) for value in values]
    assert encoded == sorted(encoded)
    assert len(set(encoded)) == len(values)
    assert [decode("int", data) for data in encoded] == values


@given(st.lists(TEXT, min_size=2))
def test_str(values: list[str]) -> None:
    assert [decode("str", encode("str", value)) for value in values] == values
    assert sorted(values, key=lambda value: encode("str", value)) == sorted(values)


@given(NUMBERS, NUMBERS)
def test_numbers_in_tuples(first: float, second: float) -> None:
    one, two = encode("tuple", (first,)), encode("tuple", (second,))
    assert (one < two) == (first < second)
    assert (one == two) == (first == second)
    assert decode("tuple", one) == (first,)


ELEMENTS = st.recursive(
    st.one_of(st.none(), NUMBERS, TEXT, st.binary()), lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6
)


def rank(value: Any) -> int:
    """The order of kinds that Python refuses to compare."""
    if value is None:
        return 0
    return {bool: 1, int: 1, float: 1, str: 2, bytes: 3, tuple: 4}[type(value)]


def below(first: Any, second: Any) -> bool:
    """first < second as the documentation of the codec says."""
    if rank(first) != rank(second):
        return rank(first) < rank(second)
    if first is None:
        return False
    if not isinstance(first, tuple):
        return first < second
    for one, two in zip(first, second, strict=False):
        if below(one, two):
            return True
        if below(two, one):
            return False
    return len(first) < len(second)


@given(st.lists(ELEMENTS, max_size=4).map(tuple), st.lists(ELEMENTS, max_size=4).map(tuple))
def test_tuples(first: tuple[Any, ...], second: tuple[Any, ...]) -> None:
    one, two = encode("tuple", first), encode("tuple", second)
    assert decode("tuple", one) == first
    assert (one < two) == below(first, second)
    assert (one == two) == (first == second)


@given(st.lists(st.tuples(NUMBERS, TEXT, st.binary(), st.tuples(NUMBERS, TEXT)), min_size=2))
def test_tuples_sort_as_python_sorts_them(values: list[Any]) -> None:
    assert sorted(values, key=lambda value: encode("tuple", value)) == sorted(values)


@given(st.tuples(ELEMENTS), ELEMENTS)
def test_prefixes_of_tuples_are_ranges(prefix: tuple[Any, ...], more: Any) -> None:
    start = encode("tuple", prefix)
    assert start <= encode("tuple", (*prefix, more)) < start + b"\xff"


def test_tuple_prefix_scan(db: Any) -> None:
    routes = db.family("routes", key="tuple", value="int")
    names = [("JFK", 1), ("JFK", 1.5, "x"), ("JFK", 2), ("JFKX",), ("LGA", 1)]
    routes.update({name: at for at, name in enumerate(names)})
    assert list(routes.scan(prefix=("JFK",)).keys()) == names[:3]
    assert list(routes.scan(prefix=("JFK", 1)).keys()) == names[:1]
    assert list(routes.scan(prefix=())) == list(routes.items())


def test_numbers_that_are_equal_are_one_key(db: Any) -> None:
    family = db.family("t", key="tuple", value="str")
    family[1,] = "a"
    family[1.0,] = "b"
    family[True,] = "c"
    family[-0.0,] = "zero"
    assert dict(family) == {(0,): "zero", (1,): "c"}


def test_tuple_refuses() -> None:
    nested: Any = ()
    for _ in range(200):
        nested = (nested,)
    for bad, error in (
        ([1], TypeError),
        ((object(),), TypeError),
        ((math.nan,), ValueError),
        (nested, ValueError),
        (({},), TypeError),
    ):
        with pytest.raises(error):
            encode("tuple", bad)


@given(st.binary(max_size=40))
def test_arbitrary_bytes_do_not_crash(data: bytes) -> None:
    for codec in ("int", "tuple", "str", "json"):
        with contextlib.suppress(lyredb.CodecError, ValueError):
            decode(codec, data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)
    )
)
def test_json_and_msgpack(value: Any) -> None:
    assert decode("json", encode("json", value)) == value
    try:
        data = encode("msgpack", value)
    except OverflowError:
        return
    assert decode("msgpack", data) == value


def test_wrong_types(db: Any) -> None:
    for codec, bad in (("bytes", "text"), ("str", b"bytes"), ("int", 1.5), ("int", "1"), ("tuple", [1]), ("str", None)):
        family = db.family(f"k-{codec}", key=codec)
        for act in (
            family.get,
            family.delete,
            family.__getitem__,
            family.__contains__,
            lambda k, f=family: f.put(k, b""),
        ):
            with pytest.raises(TypeError, match=type(bad).__name__):
                act(bad)
        assert not family


def test_numpy_integers(db: Any) -> None:
    numpy = pytest.importorskip("numpy")
    family = db.family("i", key="int", value="tuple")
    family[numpy.int64(5)] = (numpy.int32(6), numpy.float64(1.5))
    assert family[5] == (6, 1.5)


def test_lone_surrogates_are_refused(db: Any) -> None:
    with pytest.raises(UnicodeEncodeError):
        db.family("s", key="str")["\ud800"] = b""


class Reversed:
    """Text whose order is that of its reverse."""

    ordered = True
    name = "reversed"

    def encode(self, value: str) -> bytes:
        return value[::-1].encode()

    def decode(self, data: bytes) -> str:
        return data.decode()[::-1]


class Unordered(Reversed):
    ordered = False
    name = "unordered"


def test_codec_of_ones_own(path: Any) -> None:
    with lyredb.open(path) as db:
        family = db.family("r", key=Reversed(), value=Unordered())
        family.update({"ab": "x", "ba": "y"})
        assert list(family) == ["ba", "ab"]
        with pytest.raises(lyredb.ConfigError, match="ordered"):
            db.family("u", key=Unordered())
        with pytest.raises(TypeError, match="codec"):
            db.family("u", key=5)
        assert "u" not in db.families()
    with lyredb.open(path) as db:
        with pytest.raises(lyredb.ConfigError, match="reversed"):
            db.family("r")
        with pytest.raises(lyredb.ConfigError, match="reversed"):
            db.family("r", key="str", value=Unordered())
        assert db.family("r", key=Reversed(), value=Unordered())["ab"] == "x"


def test_codec_returning_no_bytes(db: Any) -> None:
    class Bad(Reversed):
        name = "bad"

        def encode(self, value: Any) -> Any:
            return value

    with pytest.raises(TypeError, match="bad"):
        db.family("b", key=Bad())["x"] = b""


def test_codecs_are_remembered(path: Any) -> None:
    with lyredb.open(path) as db:
        db.family("f", key="tuple", value="json")[1, "a"] = [1]
        db.family("plain")[b"k"] = b"v"
        with pytest.raises(lyredb.ConfigError, match="tuple"):
            db.family("f", key="str")
    with lyredb.open(path) as db:
        with pytest.raises(lyredb.ConfigError, match="json"):
            db.family("f", key="tuple", value="str")
        with pytest.raises(lyredb.ConfigError):
            db.family("plain", key="str")
        assert db.family("f")[1, "a"] == [1]
        assert db.family("f", key="tuple", value="json")[1, "a"] == [1]
        assert db.family("plain")[b"k"] == b"v"
        assert db.family("f").key_codec.name == "tuple"


def test_codecs_of_the_default_family(path: Any) -> None:
    with lyredb.open(path, key="str", value="int") as db:
        db["a"] = 1
    with lyredb.open(path) as db:
        assert dict(db) == {"a": 1}
        with db.transaction() as t:
            t["b"] = 2
        with db.snapshot() as s:
            assert dict(s) == {"a": 1, "b": 2}
    with pytest.raises(lyredb.ConfigError):
        lyredb.open(path, key="bytes")
    with lyredb.open(path, key="str") as db:
        assert len(db) == 2


@pytest.mark.parametrize("name", ["json", "msgpack"])
def test_values_only(db: Any, name: str) -> None:
    with pytest.raises(lyredb.ConfigError, match="keys"):
        db.family("f", key=name)
    with pytest.raises(lyredb.ConfigError, match="no codec"):
        db.family("f", value=name + "x")
    assert db.families() == ["default"]


def test_undecodable_is_told(path: Any) -> None:
    with lyredb.open(path) as db:
        db.family("f", value="bytes")[b"k"] = b"\xff"
        native = _engine.Family(db._engine, "f", _engine.Codec("bytes"), _engine.Codec("str"))
        for read in (lambda: native[b"k"], lambda: list(native.scan()), lambda: native.multi_get([b"k"])):
            with pytest.raises(lyredb.CodecError):
                read()
