"""The bytes on disk: fixtures of each format, newer formats, and an independent reader of docs/format.md."""

from __future__ import annotations

import importlib.util
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import format_reader
import pytest
from click.testing import CliRunner
from format_reader import crc32c, now, raw_contents

import lyredb
from lyredb.cli import main

FIXTURES = Path(__file__).parent / "fixtures"
FORMATS = sorted(FIXTURES.glob("format-*"))
NEWEST = FORMATS[-1]

_spec = importlib.util.spec_from_file_location("make", FIXTURES / "make.py")
assert _spec is not None and _spec.loader is not None  # noqa: PT018
make: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(params=FORMATS, ids=lambda path: path.name)
def fixture(request: pytest.FixtureRequest, path: Path) -> tuple[Path, Any]:
    """A copy of a fixture, and what is in it."""
    shutil.copytree(request.param / "db", path)
    return path, json.loads((request.param / "contents.json").read_text())


def test_a_fixture_is_read(fixture: tuple[Path, Any]) -> None:
    path, expected = fixture
    before = files_of(path)
    with lyredb.open(path, read_only=True) as db:
        assert make.contents(db) == expected
        assert db.check().ok
    assert files_of(path) == before
    for _ in range(2):
        with lyredb.open(path) as db:
            assert make.contents(db) == expected
            assert db.check().ok


def test_a_fixture_is_written_to(fixture: tuple[Path, Any]) -> None:
    path, expected = fixture
    with lyredb.open(path) as db:
        for name in db.families():
            family = db.existing_family(name)
            records = list(family.items())
            family.clear()
            family.write_batch(records[::2])
            db.checkpoint()
            family.write_batch(records[1::2])
        db.compact()
        db.family("new")[b"k"] = b"v"
    with lyredb.open(path) as db:
        assert db.check().ok
        assert dict(db.family("new")) == {b"k": b"v"}
        db.drop_family("new")
        assert make.contents(db) == expected


def test_a_fixture_is_as_the_page_on_the_format_says(fixture: tuple[Path, Any]) -> None:
    path, _ = fixture
    found = format_reader.read(path)
    with lyredb.open(path, read_only=True) as db:
        assert found.contents(now()) == raw_contents(db)
    # It has a page of every kind, packed in all ways.
    kinds = {format_reader.LEAF, format_reader.INNER, format_reader.CATALOGUE, format_reader.BLOB}
    assert {kind for kind, _ in found.pages} == kinds
    assert {codec for kind, codec in found.pages if kind == format_reader.LEAF} == {0, 1, 2}
    assert any(0 < expiry < now() for family in found.families.values() for _, expiry in family.records.values())


def test_a_fixture_with_a_torn_end(fixture: tuple[Path, Any], tmp_path: Path) -> None:
    """Wherever the last segment ends, what comes before is read, by us and by the independent reader."""
    path, expected = fixture
    segment = max(path.glob("log-*"))
    data = segment.read_bytes()
    seen = set[int]()
    for length in range(0, len(data), len(data) // 16):
        torn = tmp_path / "torn"
        shutil.copytree(path, torn)
        (torn / segment.name).write_bytes(data[:length])
        found = format_reader.read(torn)
        seen.add(found.version)
        with lyredb.open(torn) as db:
            assert found.contents(now()) == raw_contents(db)
            assert db.check().ok
        shutil.rmtree(torn)
    assert len(seen) > 2
    with lyredb.open(path) as db:
        assert make.contents(db) == expected


def formats_of(path: Path) -> tuple[int, int, set[int]]:
    """Those of the page file, of the log, and of the pages."""
    pages = (path / "pages.lyre").read_bytes()
    numbers = {pages[at + 3] for at in pages_of(pages)}
    return pages[8], max(path.glob("log-*")).read_bytes()[8], numbers


def pages_of(data: bytes) -> list[int]:
    """Where there are pages, sound ones, whether they are in use or not."""
    found = list[int]()
    for at in range(8192, len(data) - 16, 64):
        stored, crc = struct.unpack_from("<2I", data, at + 8)
        if (
            data[at] == 0xD7
            and crc32c(data[at : at + 12], at.to_bytes(8, "little"), data[at + 16 : at + 16 + stored]) == crc
        ):
            found.append(at)
    return found


def test_a_new_format_has_a_new_fixture(path: Path) -> None:
    """Who changes the format makes a fixture of it: `python tests/fixtures/make.py`. The old ones stay."""
    with lyredb.open(path) as db:
        db[b"k"] = b"v"
        db.checkpoint()
    assert formats_of(path) == formats_of(NEWEST / "db")
    assert NEWEST.name == f"format-{make.FORMAT}" == f"format-{formats_of(path)[0]}"
    assert [int(each.name.removeprefix("format-")) for each in FORMATS] == list(range(1, make.FORMAT + 1))


def newer_page_file(path: Path) -> Path:
    file = path / "pages.lyre"
    data = bytearray(file.read_bytes())
    for slot in (0, 4096):
        data[slot + 8] = 2
        data[slot + 4092 : slot + 4096] = crc32c(data[slot : slot + 4092]).to_bytes(4, "little")
    file.write_bytes(data)
    return file


def newer_log(path: Path) -> Path:
    file = max(path.glob("log-*"))
    data = bytearray(file.read_bytes())
    data[8] = 2
    data[60:64] = crc32c(data[:60]).to_bytes(4, "little")
    file.write_bytes(data)
    return file


def newer_page(path: Path) -> Path:
    return newer_pages(path, format_reader.CATALOGUE)


def newer_leaf(path: Path) -> Path:
    return newer_pages(path, format_reader.LEAF)


def newer_pages(path: Path, kind: int) -> Path:
    file = path / "pages.lyre"
    data = bytearray(file.read_bytes())
    for at in pages_of(data):
        if data[at + 1] == kind:
            data[at + 3] = 2
            stored = struct.unpack_from("<I", data, at + 8)[0]
            crc = crc32c(data[at : at + 12], at.to_bytes(8, "little"), data[at + 16 : at + 16 + stored])
            data[at + 12 : at + 16] = crc.to_bytes(4, "little")
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("make_newer", [newer_page_file, newer_log, newer_page, newer_leaf])
def test_a_newer_format_is_refused(path: Path, make_newer: Callable[[Path], Path]) -> None:
    shutil.copytree(NEWEST / "db", path)
    words = str(make_newer(path)), "format 2", "up to 1", "upgrade lyredb"
    before = files_of(path)
    for options in ({}, {"read_only": True}, {"create": False}):
        with pytest.raises(lyredb.NewerFormatError) as error:
            lyredb.open(path, **options)
        message = str(error.value)
        assert all(word in message for word in words), message
        assert files_of(path) == before
    for command in (["check"], ["get", "0000"], ["put", "k", "v"], ["compact"], ["stats"]):
        done = CliRunner().invoke(main, [command[0], str(path), *command[1:]])
        assert done.exit_code == 3, done.output
        assert all(word in done.stderr for word in words), done.stderr
        assert files_of(path) == before
