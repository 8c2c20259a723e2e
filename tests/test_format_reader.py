"""Databases of random programs, read by the independent reader of docs/format.md as they lie on the disk."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import format_reader
import pytest
from effort import scaled, tally
from format_reader import now, raw_contents
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_format import files_of

import lyredb

NAMES = st.sampled_from(["default", "a", "b", "c"])
KEYS = st.one_of(st.binary(max_size=4), st.integers(0, 300).map(lambda at: b"%03d" % at), st.just(b"k" * 4096))
VALUES = st.one_of(
    st.binary(max_size=20),
    st.integers(0, 3).map(lambda at: bytes([at]) * 3000),
    st.randoms(use_true_random=False).map(lambda random: random.randbytes(1500)),
)
SETTINGS = st.fixed_dictionaries(
    {
        "leaf_bytes": st.sampled_from([1024, 2048, 65_536]),
        "delta_records": st.sampled_from([1, 4, 256]),
        "blob_bytes": st.sampled_from([256, 1024, 1 << 20]),
        "codec": st.sampled_from(["none", "lz4", "zstd"]),
        "codec_level": st.sampled_from([1, 9]),
    }
)
TIMES = st.sampled_from([None, None, None, 0.000_001, 1e6])
STEPS = st.one_of(
    st.tuples(st.just("put"), NAMES, KEYS, VALUES, TIMES),
    st.tuples(st.just("delete"), NAMES, KEYS),
    st.tuples(st.just("delete_range"), NAMES, st.none() | KEYS, st.none() | KEYS),
    st.tuples(st.just("batch"), NAMES, st.lists(st.tuples(KEYS, VALUES), max_size=20)),
    st.tuples(st.just("fill"), NAMES, st.integers(1, 400)),
    st.tuples(st.just("transaction"), st.lists(st.tuples(NAMES, KEYS, st.none() | VALUES), max_size=8)),
    st.tuples(st.just("drop"), NAMES),
    st.tuples(st.just("rename"), NAMES),
    st.tuples(st.just("configure"), st.none() | NAMES, SETTINGS),
    st.tuples(st.sampled_from(["checkpoint", "compact", "look", "look", "reopen", "crash"])),
)
looks = 0


class Program:
    """A database, and a dict for each of its families."""

    def __init__(self, folder: Path, options: dict[str, Any], durability: Any) -> None:
        self.folder, self.options = folder, {**options, "durability": durability}
        self.path = folder / "0"
        self.model: dict[str, dict[bytes, bytes]] = {"default": {}}
        self.copies = 0
        self.db: Any = lyredb.open(self.path, **self.options)

    def family(self, name: str) -> tuple[Any, dict[bytes, bytes]]:
        return self.db.family(name), self.model.setdefault(name, {})

    def put(self, name: str, key: bytes, value: bytes, ttl: float | None) -> None:
        family, model = self.family(name)
        family.put(key, value, ttl=ttl)
        model[key] = value
        if ttl is not None and ttl < 1:
            time.sleep(0.003)  # longer than it lives
            del model[key]

    def delete(self, name: str, key: bytes) -> None:
        family, model = self.family(name)
        assert family.delete(key) == (model.pop(key, None) is not None)

    def delete_range(self, name: str, start: bytes | None, stop: bytes | None) -> None:
        family, model = self.family(name)
        gone = [key for key in model if (start is None or start <= key) and (stop is None or key < stop)]
        assert family.delete_range(start, stop) == len(gone)
        for key in gone:
            del model[key]

    def batch(self, name: str, pairs: list[tuple[bytes, bytes]]) -> None:
        family, model = self.family(name)
        family.write_batch(pairs)
        model.update(pairs)

    def fill(self, name: str, count: int) -> None:
        self.batch(name, [(b"filled with %06d" % (number * 7919 % 1000), b"%d" % count * 9) for number in range(count)])

    def transaction(self, changes: list[tuple[str, bytes, bytes | None]]) -> None:
        for name, _, _ in changes:
            self.family(name)
        with self.db.transaction() as t:
            for name, key, value in changes:
                if value is None:
                    t.family(name).delete(key)
                    self.model[name].pop(key, None)
                else:
                    t.family(name)[key] = value
                    self.model[name][key] = value

    def drop(self, name: str) -> None:
        if name != "default" and self.model.pop(name, None) is not None:
            self.db.drop_family(name)

    def rename(self, name: str) -> None:
        if name != "default" and name in self.model:
            new = f"{name} {len(self.model)} {self.copies}"
            self.db.rename_family(name, new)
            self.model[new] = self.model.pop(name)

    def configure(self, name: str | None, chosen: dict[str, Any]) -> None:
        self.db.configure(name if name in self.model else None, **chosen)

    def checkpoint(self) -> None:
        self.db.checkpoint()

    def compact(self) -> None:
        self.db.compact()

    def copy(self) -> Path:
        """The folder as a process would leave it that is killed now."""
        self.db.sync()
        self.copies += 1
        return shutil.copytree(self.path, self.folder / str(self.copies))

    def look(self) -> None:
        self.examine(self.copy())

    def reopen(self) -> None:
        self.db.close()
        self.examine(self.path)
        self.db = lyredb.open(self.path, **self.options)

    def crash(self) -> None:
        """Goes on with what is left after a kill."""
        left = self.copy()
        self.db.close()
        self.path = left
        self.db = lyredb.open(self.path, **self.options)

    def examine(self, path: Path) -> None:
        global looks  # noqa: PLW0603
        looks += 1
        before = files_of(path)
        found = format_reader.read(path)
        assert found.contents(now()) == self.model
        with lyredb.open(path, read_only=True) as db:
            assert raw_contents(db) == self.model
            for family in found.families.values():
                chosen = {key: value for key, value in found.settings.items() if key in db.settings(family.name)}
                assert db.settings(family.name).items() >= (chosen | family.settings).items()
        assert files_of(path) == before


@settings(max_examples=scaled(100), deadline=None, suppress_health_check=list(HealthCheck))
@given(options=SETTINGS, durability=st.sampled_from(["sync", "group", "async"]), steps=st.lists(STEPS, max_size=40))
def check_programs(options: dict[str, Any], durability: str, steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        program = Program(Path(folder), options, durability)
        try:
            for name, *arguments in steps:
                getattr(program, name)(*arguments)
            program.look()
            program.reopen()
        finally:
            program.db.close()


def test_the_folder_is_as_the_page_on_the_format_says() -> None:
    check_programs()
    tally("folders read by the independent reader", looks)


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
def test_a_deep_tree(path: Path, codec: str) -> None:
    records = {b"%06d" % number: b"%d" % number * 10 for number in range(15_000)}
    with lyredb.open(path, leaf_bytes=1024, codec=codec) as db:
        db.write_batch(records)
        db.checkpoint()
        for number in range(0, 15_000, 50):
            records[b"%06d" % number] = db[b"%06d" % number] = b"changed"
    found = format_reader.read(path)
    assert found.contents(now()) == {"default": records}
    assert found.pages[format_reader.INNER, 1] + found.pages.get((format_reader.INNER, 0), 0) > 3


def test_damage_is_found_by_both(path: Path) -> None:
    """A byte changed anywhere: both refuse it, or neither sees anything else than before."""
    with lyredb.open(path, leaf_bytes=1024, blob_bytes=512) as db:
        db.write_batch({b"%03d" % number: b"%d" % number * (200 if number % 20 == 0 else 5) for number in range(200)})
        db.checkpoint()
        for number in range(5):
            db[b"%03d" % number] = b"changed"
            db.sync()
        shutil.copytree(path, path.with_name("copy"))
        expected = raw_contents(db)
    path = path.with_name("copy")
    places = [
        (file, at)
        for file in sorted(path.iterdir())
        for at in range(0, file.stat().st_size, max(1, file.stat().st_size // scaled(60)))
    ]
    refused = 0
    for file, at in places:
        before = file.read_bytes()
        file.write_bytes(before[:at] + bytes([before[at] ^ 0x10]) + before[at + 1 :])
        ours = theirs = None
        try:
            ours = format_reader.read(path).contents(now())
        except format_reader.Malformed:
            refused += 1
        try:
            with lyredb.open(path, read_only=True) as db:
                # One superblock may be damaged: the other has it all.
                if all("superblock" in problem.what for problem in db.check().problems):
                    theirs = raw_contents(db)
        except lyredb.Error:
            pass
        file.write_bytes(before)
        assert ours == theirs, f"{file.name}, byte {at}"
        if ours is not None and file.name == "pages.lyre":
            assert ours == expected
    assert 0 < refused < len(places)
