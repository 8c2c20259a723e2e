"""Scans: bounds, directions, limits, seeking, sharing."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from lyredb import Scan

ROWS = 3000


def key(number: int) -> bytes:
    return number.to_bytes(4, "big")


@pytest.fixture
def numbers(db: Any) -> Any:
    db.write_batch((key(at), str(at).encode()) for at in range(ROWS))
    return db


def test_whole(numbers: Any) -> None:
    expected = [(key(at), str(at).encode()) for at in range(ROWS)]
    assert list(numbers.scan()) == expected
    assert list(numbers.scan(reverse=True)) == expected[::-1]
    assert list(numbers.scan().keys()) == [row[0] for row in expected]
    assert list(numbers.scan().values()) == [row[1] for row in expected]
    assert list(numbers.scan().keys().items()) == expected
    assert dict(numbers.scan()) == dict(expected)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("start_inclusive", [False, True])
@pytest.mark.parametrize("stop_inclusive", [False, True])
def test_bounds(numbers: Any, reverse: bool, start_inclusive: bool, stop_inclusive: bool) -> None:
    rows = numbers.scan(
        key(10), key(20), reverse=reverse, start_inclusive=start_inclusive, stop_inclusive=stop_inclusive
    )
    expected = list(range(10 if start_inclusive else 11, 21 if stop_inclusive else 20))
    assert rows.count() == len(expected)
    found = [int.from_bytes(row, "big") for row in rows.keys()]
    assert found == (expected[::-1] if reverse else expected)


def test_empty_ranges(numbers: Any) -> None:
    assert list(numbers.scan(key(20), key(10))) == []
    assert list(numbers.scan(key(20), key(20))) == []
    assert list(numbers.scan(key(20), key(20), start_inclusive=False, stop_inclusive=True)) == []
    assert list(numbers.scan(key(20), key(20), stop_inclusive=True)) == [(key(20), b"20")]
    assert list(numbers.scan(limit=0)) == []
    assert numbers.scan(key(ROWS)).count() == 0


@pytest.mark.parametrize("limit", [1, 31, 32, 33, 100, 1024, 1025, 5000])
def test_limit(numbers: Any, limit: int) -> None:
    expected = min(limit, ROWS)
    assert len(list(numbers.scan(limit=limit))) == expected
    assert numbers.scan(limit=limit).count() == expected
    assert numbers.scan(limit=limit).to_arrow().num_rows == expected
    for bad in (-1, "1", 1.5):
        with pytest.raises((TypeError, ValueError)):
            numbers.scan(limit=bad)


def test_prefix(db: Any) -> None:
    names = [b"a", b"ab", b"abc", b"abd", b"ac", b"b", b"\xff", b"\xff\xff", b"\xff\xff\x01"]
    db.update(dict.fromkeys(names, b""))
    assert list(db.scan(prefix=b"ab").keys()) == [b"ab", b"abc", b"abd"]
    assert list(db.scan(prefix=b"ab", reverse=True).keys()) == [b"abd", b"abc", b"ab"]
    assert list(db.scan(prefix=b"\xff\xff").keys()) == [b"\xff\xff", b"\xff\xff\x01"]
    assert list(db.scan(prefix=b"").keys()) == sorted(names)
    assert list(db.scan(b"abc", prefix=b"ab", start_inclusive=False).keys()) == [b"abd"]
    assert list(db.scan(stop=b"abd", prefix=b"ab").keys()) == [b"ab", b"abc"]
    assert list(db.scan(b"0", b"z", prefix=b"ab").keys()) == [b"ab", b"abc", b"abd"]
    words = db.family("words", key="str", value="bytes")
    words.update(dict.fromkeys(["über", "übung", "ufer"], b""))
    assert list(words.scan(prefix="üb").keys()) == ["über", "übung"]
    with pytest.raises(TypeError, match="prefix"):
        db.family("ints", key="int").scan(prefix=1)


def test_seek(numbers: Any) -> None:
    rows = numbers.scan().keys()
    assert next(rows) == key(0)
    assert next(rows.seek(key(2000))) == key(2000)
    assert next(rows.seek(key(5))) == key(5)
    assert next(rows.seek(b"\x00\x00\x00\x05\x01")) == key(6)
    assert list(rows.seek(key(ROWS - 2))) == [key(ROWS - 2), key(ROWS - 1)]
    assert next(rows.seek(key(7))) == key(7)
    assert list(rows.seek(key(ROWS + 1))) == []
    back = numbers.scan(key(100), key(200), reverse=True).keys()
    assert next(back.seek(key(150))) == key(150)
    assert next(back.seek(b"\x00\x00\x00\x95\x01")) == key(149)
    assert next(back.seek(key(5000))) == key(199)
    assert list(back.seek(key(50))) == []


def test_seek_stays_in_range(numbers: Any) -> None:
    rows = numbers.scan(key(100), key(110)).keys()
    assert list(rows.seek(key(5))) == [key(at) for at in range(100, 110)]
    assert list(rows.seek(key(500))) == []


def test_seek_keeps_the_limit(numbers: Any) -> None:
    rows = numbers.scan(limit=5).keys()
    assert [next(rows), next(rows)] == [key(0), key(1)]
    assert list(rows.seek(key(1000))) == [key(1000), key(1001), key(1002)]


def test_sees_one_moment(numbers: Any) -> None:
    rows = numbers.scan()
    next(rows)
    numbers.clear()
    assert len(list(rows)) == ROWS - 1
    for name, _ in numbers.scan():
        numbers[name + b"x"] = b""


def test_stays_exhausted(db: Any) -> None:
    db[b"a"] = b""
    rows = db.scan()
    assert list(rows) == [(b"a", b"")]
    assert list(rows) == []
    assert next(rows, None) is None


def test_large_rows(db: Any) -> None:
    expected = [(key(at), bytes([at]) * 100_000) for at in range(50)]
    db.write_batch(expected)
    assert list(db.scan()) == expected
    assert list(db.scan(reverse=True)) == expected[::-1]


def test_tuples_may_be_kept_and_cyclic_values_collected(db: Any) -> None:
    import gc

    rows = list(db.family("x", key="int", value="tuple").scan())
    assert rows == []
    db.update({b"a": b"b"})
    [row] = db.scan()
    gc.collect()
    assert row == (b"a", b"b")


def test_shared_between_threads(numbers: Any) -> None:
    rows: Scan[Any, Any, Any] = numbers.scan().keys()
    found: list[list[bytes]] = [[] for _ in range(4)]
    threads = [threading.Thread(target=lambda into=into: into.extend(rows)) for into in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for part in found for name in part) == [key(at) for at in range(ROWS)]


def test_getitem_within_range(numbers: Any) -> None:
    rows = numbers.scan(key(1), key(3))
    assert rows[key(2)] == b"2"
    for outside in (key(0), key(3), b"none"):
        with pytest.raises(KeyError):
            rows[outside]
