"""An independent reader of a database's folder, written from docs/format.md alone; slow, and wary of everything.

`read(folder)` gives the families as they would be recovered, and raises `Malformed` if anything in the folder is not as
the page says. It changes nothing.
"""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow

from lyredb import _engine

GRANULE = 64
FIRST_EXTENT = 8192
LEAF, INNER, CATALOGUE, BLOB = 1, 2, 3, 4
LARGEST_PAYLOAD = (1 << 30) + 65_536
LONGEST_KEY, LONGEST_VALUE = 4096, 1 << 30


class Malformed(Exception):
    """The folder is not as docs/format.md says."""


def demand(condition: object, what: str) -> None:
    if not condition:
        raise Malformed(what)


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # noqa: PLW2901
        table.append(byte)
    return table


TABLE = _table()


def crc32c(*parts: bytes) -> int:
    crc = 0xFFFFFFFF
    for part in parts:
        for byte in part:
            crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def granules(stored: int) -> int:
    """How many a page of so many stored bytes has."""
    return -(-(16 + stored) // GRANULE)


def decompressed(codec: int, stored: bytes, length: int) -> bytes:
    if codec == 0:
        demand(len(stored) == length, "a payload that is not compressed has another length than it says")
        return stored
    demand(codec in (1, 2), f"codec {codec} is none of the three")
    demand(granules(len(stored)) < granules(length), "a payload is compressed, and its page no shorter")
    name = {1: "lz4_raw", 2: "zstd"}[codec]
    raw = pyarrow.decompress(stored, decompressed_size=length, codec=name, asbytes=True)
    demand(len(raw) == length, "a payload unpacks to another length than it says")
    return raw


class Payload:
    """Bytes, read field by field."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, length: int) -> bytes:
        demand(self.at + length <= len(self.data), "a payload ends within a field")
        self.at += length
        return self.data[self.at - length : self.at]

    def u8(self) -> int:
        return self.take(1)[0]

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def varint(self) -> int:
        value = 0
        for place in range(10):
            byte = self.u8()
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                demand(value < 1 << 64, "a varint has more than 64 bits")
                return value
        raise Malformed("a varint has more than ten bytes")

    def bytes(self) -> bytes:
        return self.take(self.varint())

    def text(self) -> str:
        return self.bytes().decode()

    def flag(self) -> bool:
        value = self.u8()
        demand(value in (0, 1), f"a flag is {value}")
        return value == 1

    def many(self, read: Callable[[], Any]) -> list[Any]:
        return [read() for _ in range(self.varint())]

    def setting(self) -> tuple[str, int | str]:
        name, kind = self.text(), self.flag()
        return name, self.text() if kind else int.from_bytes(self.take(8), "little", signed=True)

    def settings(self) -> dict[str, int | str]:
        return dict(self.many(self.setting))

    @property
    def ended(self) -> bool:
        return self.at == len(self.data)

    def end(self) -> None:
        demand(self.ended, f"{len(self.data) - self.at} bytes follow the end of a payload")


Record = tuple[bytes, int]  # the value, and the time it expires in milliseconds, or 0


@dataclass
class Family:
    number: int
    name: str
    note: str | None = None
    settings: dict[str, int | str] = field(default_factory=dict[str, int | str])
    records: dict[bytes, Record] = field(default_factory=dict[bytes, Record])


@dataclass
class Root:
    extent: int
    level: int
    records: int
    expiring: bool
    blobs: list[int]


@dataclass
class Database:
    version: int
    log_segment: int
    identity: bytes
    settings: dict[str, int | str] = field(default_factory=dict[str, int | str])
    next_number: int = 1
    families: dict[int, Family] = field(default_factory=lambda: {0: Family(0, "default")})
    # Of the pages: how many there are of each kind and codec.
    pages: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    torn: bool = False

    def contents(self, now: int) -> dict[str, dict[bytes, bytes]]:
        """The records of each family that have not expired, in the order of their keys."""
        return {
            family.name: {
                key: value for key, (value, expiry) in sorted(family.records.items()) if not 0 < expiry <= now
            }
            for family in self.families.values()
        }


def read(folder: Path) -> Database:
    pages = PageFile((folder / "pages.lyre").read_bytes())
    database = pages.read()
    segments = {int(file.name[4:20]): file.read_bytes() for file in folder.glob("log-" + "[0-9]" * 16 + ".lyre")}
    Log(database, segments).replay()
    return database


def catalogue(database: Database, payload: Payload) -> dict[int, Root]:
    """Takes over what a catalogue says, and gives the roots it has."""
    families, roots = dict[int, Family](), dict[int, Root]()
    database.settings = payload.settings()
    database.next_number = max(database.next_number, payload.varint())
    for _ in range(payload.varint()):
        number, name = payload.varint(), payload.text()
        has_note, note = payload.flag(), payload.text()
        demand(has_note or not note, "a family without a note has one")
        demand(1 <= len(name.encode()) <= 255, f"a family is named {name!r}")
        demand(number not in families and number >= max(families, default=0), "families are not in order")
        known = database.families.get(number)
        families[number] = Family(number, name, note if has_note else None, payload.settings())
        families[number].records = known.records if known else {}
        if payload.flag():
            roots[number] = Root(
                payload.u64(), payload.varint(), payload.varint(), payload.flag(), payload.many(payload.u64)
            )
    payload.end()
    names = [family.name for family in families.values()]
    demand(len(set(names)) == len(names) and "default" in names, f"the families are {names}")
    demand(max(families) < database.next_number < 1 << 32, "a family's number may be given again")
    database.families = families
    return roots


class PageFile:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.used: list[tuple[int, int]] = []
        self.kinds: dict[tuple[int, int], int] = {}

    def read(self) -> Database:
        slots = [slot for slot in (self.data[:4096], self.data[4096:FIRST_EXTENT]) if self.sound(slot)]
        demand(slots, "no superblock is sound")
        newest = max(slots, key=lambda slot: struct.unpack_from("<Q", slot, 16))
        sequence, version, log_segment, extent = struct.unpack_from("<4Q", newest, 16)
        demand(sequence >= 1, "the sequence is 0")
        demand(not any(newest[12:16]) and not any(newest[64:4092]), "a superblock is not zero where it has to be")
        database = Database(version, log_segment, newest[48:64])
        if extent:
            database.next_number = 0
            roots = catalogue(database, self.page(extent, CATALOGUE))
            demand(len(roots) == len(database.families), "a family of the page file has no root")
            for number, root in roots.items():
                family = database.families[number]
                inner = root.level > 0
                demand(not (inner and (root.blobs or root.expiring)), "a root that is no leaf has a leaf's fields")
                found = list(self.tree(root.extent, root.level, b"", None, root.expiring, root.blobs))
                demand(len(found) == root.records, f"{family.name} has not as many records as its root says")
                family.records = dict(found)
        self.used.sort()
        for (_, end), (start, _) in zip(self.used, self.used[1:], strict=False):
            demand(end <= start, f"extents overlap at byte {start}")
        database.pages = self.kinds
        return database

    def sound(self, slot: bytes) -> bool:
        if (
            len(slot) < 4096
            or slot[:8] != b"LYREDB\x1a\0"
            or crc32c(slot[:4092]) != int.from_bytes(slot[4092:], "little")
        ):
            return False
        demand(slot[8:12] == b"\1\0\0\0", f"the page file has format {int.from_bytes(slot[8:12], 'little')}")
        return True

    def page(self, extent: int, kind: int) -> Payload:
        offset, length = (extent >> 26) * GRANULE, (extent >> 1 & 0x1FFFFFF) * GRANULE
        demand(not extent & 1 and length and offset >= FIRST_EXTENT, f"{extent:#x} is no extent")
        demand(offset + length <= len(self.data), f"the extent at byte {offset} reaches beyond the end of the file")
        self.used.append((offset, offset + length))
        page = self.data[offset : offset + length]
        magic, found, codec, page_format, raw, stored, crc = struct.unpack_from("<4B3I", page)
        demand(magic == 0xD7 and page_format == 1, f"there is no page at byte {offset}")
        demand(found == kind, f"the page at byte {offset} is of kind {found}, not {kind}")
        demand(length == granules(stored) * GRANULE, f"the page at byte {offset} does not fit its extent")
        demand(raw <= LARGEST_PAYLOAD, f"the page at byte {offset} is too long")
        payload = page[16 : 16 + stored]
        place = offset.to_bytes(8, "little")
        demand(crc32c(page[:12], place, payload) == crc, f"the checksum of the page at byte {offset} is wrong")
        demand(not any(page[16 + stored :]), f"the page at byte {offset} is not filled up with zeros")
        demand(kind not in (INNER, CATALOGUE) or codec in (0, 1), f"the page at byte {offset} is compressed with zstd")
        self.kinds[kind, codec] = self.kinds.get((kind, codec), 0) + 1
        return Payload(decompressed(codec, payload, raw))

    def tree(
        self, extent: int, level: int, low: bytes, high: bytes | None, expiring: bool, blobs: list[int]
    ) -> Iterator[tuple[bytes, Record]]:
        if level == 0:
            yield from self.leaf(self.page(extent, LEAF), low, high, expiring, blobs)
            return
        payload = self.page(extent, INNER)
        demand(payload.varint() == level, "the level does not fall by one")
        children: list[tuple[bytes, int, int, int, list[int]]] = []
        for _ in range(payload.varint()):
            child_low, child, records, flags = payload.bytes(), payload.u64(), payload.varint(), payload.u8()
            demand(flags < 4, "an entry of an inner page has a flag that is not known")
            demand(level == 1 or not flags, "an entry of an inner page has a leaf's flags, and is none")
            children.append((child_low, child, records, flags, payload.many(payload.u64) if flags & 2 else []))
        payload.end()
        demand(children and children[0][0] >= low, "an inner page has no children, or one with keys below its own")
        lows = [each[0] for each in children]
        demand(all(one < next_ for one, next_ in itertools.pairwise(lows)), "lows do not rise")
        demand(high is None or lows[-1] < high, "a child has keys above those of the inner page")
        for (child_low, child, records, flags, its_blobs), child_high in zip(children, [*lows[1:], high], strict=True):
            found = list(self.tree(child, level - 1, child_low, child_high, bool(flags & 1), its_blobs))
            demand(len(found) == records, "a child has not as many records as its entry says")
            yield from found

    def leaf(
        self, payload: Payload, low: bytes, high: bytes | None, expiring: bool, blobs: list[int]
    ) -> Iterator[tuple[bytes, Record]]:
        page_flags, count, prefix = payload.u8(), payload.varint(), payload.bytes()
        key_lengths = [payload.varint() for _ in range(count)]
        value_lengths = [payload.varint() for _ in range(count)]
        flags = list(payload.take(count)) if page_flags else [0] * count
        expiries = [payload.u64() if flag & 1 else 0 for flag in flags]
        keys = [prefix + payload.take(length) for length in key_lengths]
        values = [payload.take(length) for length in value_lengths]
        payload.end()
        together = 0
        for flag in flags:
            together |= flag
        demand(page_flags == together < 4, "a leaf's flags are not those of its records")
        demand(expiring == bool(page_flags & 1), "a leaf's entry does not say whether records expire")
        named: list[int] = []
        last: bytes | None = None
        for key, value, flag, expiry in zip(keys, values, flags, expiries, strict=True):
            demand(last is None or last < key, "keys of a leaf do not rise")
            demand(low <= key and (high is None or key < high), "a leaf has a key that its parent excludes")
            demand(len(key) <= LONGEST_KEY, "a key is too long")
            demand(bool(flag & 1) == bool(expiry), "a record that expires has no time for it")
            last = key
            if flag & 2:
                demand(len(value) == 16, "a blob's value is not 16 bytes long")
                extent, length = struct.unpack("<2Q", value)
                named.append(extent)
                value = self.page(extent, BLOB).data  # noqa: PLW2901
                demand(len(value) == length <= LONGEST_VALUE, "a blob is not as long as its record says")
            yield key, (value, expiry)
        demand(sorted(named) == sorted(blobs), "a leaf's blobs are not those that its entry lists")


class Log:
    """The segments that are needed, in order."""

    def __init__(self, database: Database, segments: dict[int, bytes]) -> None:
        self.database = database
        self.floor = database.version
        self.segments = {number: data for number, data in segments.items() if number >= database.log_segment}

    def replay(self) -> None:
        numbers = sorted(self.segments)
        first = self.database.log_segment
        demand(numbers == list(range(first, first + len(numbers))) != [], f"segments {numbers} from {first} on")
        if len(numbers) > 1 and not self.sound_header(numbers[-1]):
            left_out = numbers.pop()
            demand(not any(self.headers(left_out, 0)), f"the header of segment {left_out} is damaged, not torn")
            self.database.torn = True
        following: int | None = None
        for number, follower in zip(numbers, [*numbers[1:], None], strict=True):
            demand(self.sound_header(number), f"the header of segment {number} is damaged")
            data = self.segments[number]
            demand(data[24:40] == self.database.identity, f"segment {number} belongs to another database")
            demand(not any(data[12:16]) and not any(data[56:60]), f"the header of segment {number} is not zero")
            version, previous_end = struct.unpack_from("<2Q", data, 40)
            reached = version == following if following is not None else version <= self.floor + 1
            demand(reached or (following or 0) < version <= self.floor + 1, f"there is a gap before segment {number}")
            demand(following is not None or number > 1 or previous_end == 0, "the first segment has one before it")
            stop = self.previous_end(follower) if follower is not None else None
            following = self.segment(number, version, stop)
        self.database.version = max(self.floor, (following or 1) - 1)

    def sound_header(self, number: int) -> bool:
        header = self.segments[number][:GRANULE]
        if (
            len(header) < GRANULE
            or header[:8] != b"LYRELOG\x1a"
            or crc32c(header[:60]) != struct.unpack("<I", header[60:])[0]
        ):
            return False
        demand(header[8:12] == b"\1\0\0\0", f"the log has format {int.from_bytes(header[8:12], 'little')}")
        return struct.unpack_from("<Q", header, 16)[0] == number

    def previous_end(self, number: int) -> int:
        return struct.unpack_from("<Q", self.segments[number], 48)[0]

    def header(self, number: int, at: int) -> tuple[int, ...] | None:
        """The fields of the block header there from its second checksum on, if it is sound."""
        header = self.segments[number][at : at + 64]
        if len(header) < 64 or header[:4] != b"\x0c\xb1\x4c\x4b":
            return None
        fields = struct.unpack("<4I6Q", header)
        if crc32c(self.database.identity, header[8:]) != fields[1] or fields[5:7] != (number, at):
            return None
        return fields[2:]

    def headers(self, number: int, start: int) -> Iterator[tuple[int, ...]]:
        for at in range(start, len(self.segments[number]), 8):
            fields = self.header(number, at)
            if fields is not None:
                yield fields

    def segment(self, number: int, version: int, stop: int | None) -> int:
        """Reads up to `stop`, or as far as it goes if it is the last; gives the version that follows."""
        data, at = self.segments[number], 64
        while at != stop:
            fields = self.header(number, at)
            records = data[at + 64 : at + 64 + fields[2]] if fields else b""
            if fields is None or len(records) < fields[2] or crc32c(self.database.identity, records) != fields[0]:
                break
            _, count, length, _, _, first, synced_segment, synced = fields
            demand(
                first == version, f"the block at {at} of segment {number} begins with version {first}, not {version}"
            )
            demand(synced_segment <= number, "a block knows that a later segment was synced")
            demand(synced_segment < number or synced <= at, "a block knows that it was synced itself")
            version = self.block(Payload(records), count, version)
            at += 64 + -(-length // 8) * 8
        if stop is not None:
            demand(at == stop, f"segment {number} ends at {at}, and was synced up to {stop}")
            return version
        witness = any(fields[-2] == number and fields[-1] > at for fields in self.headers(number, at))
        demand(not witness, f"segment {number} is damaged at {at}: more of it had been synced")
        self.database.torn |= any(data[at:])
        return version

    def block(self, payload: Payload, count: int, version: int) -> int:
        for _ in range(count):
            length, found = struct.unpack("<IQ", payload.take(12))
            demand(found == version, f"a record has version {found}, not {version}")
            operations = Payload(payload.take(length))
            while not operations.ended:
                self.operation(operations, version)
            version += 1
        payload.end()
        return version

    def operation(self, payload: Payload, version: int) -> None:
        kind = payload.u8()
        demand(1 <= kind <= 5, f"operation {kind} is not known")
        if kind == 5:
            body = Payload(payload.bytes())
            if version > self.floor:
                demand(not catalogue(self.database, body), "a catalogue of the log has roots")
            return
        number = payload.varint()
        expiry = payload.u64() if kind == 2 else 0
        bounds = payload.u8() if kind == 4 else 0
        key = payload.bytes()
        other = payload.bytes() if kind != 3 else b""
        demand(len(key) <= LONGEST_KEY and len(other) <= LONGEST_VALUE, "a key or a value is too long")
        demand(bounds < 4 and (kind != 4 or ((bounds & 1 or not key) and (bounds & 2 or not other))), "odd bounds")
        family = self.database.families.get(number)
        if family is None or version <= self.floor:
            return
        if kind in (1, 2):
            family.records[key] = (other, expiry)
        elif kind == 3:
            family.records.pop(key, None)
        else:
            gone = [k for k in family.records if (not bounds & 1 or k >= key) and (not bounds & 2 or k < other)]
            for each in gone:
                del family.records[each]


def now() -> int:
    """The time as an expiry is stored."""
    return int(time.time() * 1000)


def raw_contents(db: Any) -> dict[str, dict[bytes, bytes]]:
    """What LyreDB itself reads of all families, as the bytes that are stored: to compare with."""
    plain = _engine.Codec("bytes")
    return {name: dict(_engine.Family[Any, Any](db._engine, name, plain, plain).scan()) for name in db.families()}
