"""Keys, values and access patterns, each a function of the seed alone.

Record number `i` has the same key and value in every process: numbers below `records` are loaded,
those above are new, and a stream of its own gives keys that are never stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .settings import BATCH_RECORDS, KEY_BYTES, VALUE_BYTES

Bytes2D = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]
Pair = tuple[bytes, bytes]

# Records are made block by block, so that any of them can be had without making all.
BLOCK_RECORDS = 1 << 16
KEY_STREAM, ABSENT_STREAM, VALUE_STREAM, PATTERN_STREAM = range(4)

RANDOM_VALUE_BYTES = VALUE_BYTES // 2
_TEXTS = tuple(
    f"origin={origin};status={status};remark=none;delay=0000;".ljust(50, ".")[:50].encode()
    for origin in ("EWR", "JFK", "LGA", "BOS")
    for status in ("landed", "departed", "cancelled", "diverted")
)


def as_bytes(rows: Bytes2D) -> list[bytes]:
    """The rows as plain `bytes` objects, new ones that no store and no cached hash knows."""
    rows = np.ascontiguousarray(rows)
    return rows.view(f"V{rows.shape[1]}").ravel().tolist()


def slices(items: list[Any], length: int) -> list[list[Any]]:
    return [items[start : start + length] for start in range(0, len(items), length)]


class Data:
    """The records of one run."""

    def __init__(self, seed: int, records: int) -> None:
        self.seed = seed
        self.records = records

    def random(self, stream: int, number: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.seed, stream, number]))

    # Keys

    def _key_block(self, block: int, stream: int = KEY_STREAM) -> Bytes2D:
        random = self.random(stream, block)
        return random.integers(0, 256, size=(BLOCK_RECORDS, KEY_BYTES), dtype=np.uint8)

    @lru_cache(maxsize=2)  # noqa: B019 - one Data lives as long as its process
    def _key_array(self, blocks: int) -> Bytes2D:
        return np.concatenate([self._key_block(block) for block in range(blocks)])

    def key_array(self, stop: int) -> Bytes2D:
        return self._key_array(-(-stop // BLOCK_RECORDS))[:stop]

    def keys(self, indices: Indices) -> list[bytes]:
        stop = int(indices.max()) + 1 if len(indices) else 1
        return as_bytes(self.key_array(stop)[indices])

    def absent_keys(self, count: int) -> list[bytes]:
        blocks = range(-(-count // BLOCK_RECORDS))
        rows = [self._key_block(block, ABSENT_STREAM) for block in blocks]
        return as_bytes(np.concatenate(rows)[:count])

    # Values

    def _value_block(self, block: int) -> Bytes2D:
        random = self.random(VALUE_STREAM, block)
        size = (BLOCK_RECORDS, RANDOM_VALUE_BYTES)
        rows = np.empty((BLOCK_RECORDS, VALUE_BYTES), dtype=np.uint8)
        rows[:, :RANDOM_VALUE_BYTES] = random.integers(0, 256, size=size, dtype=np.uint8)
        texts = np.frombuffer(b"".join(_TEXTS), dtype=np.uint8).reshape(len(_TEXTS), -1)
        rows[:, RANDOM_VALUE_BYTES:] = texts[random.integers(0, len(_TEXTS), BLOCK_RECORDS)]
        return rows

    def value_array(self, start: int, stop: int) -> Bytes2D:
        first, last = start // BLOCK_RECORDS, -(-stop // BLOCK_RECORDS)
        rows = np.concatenate([self._value_block(block) for block in range(first, last)])
        offset = first * BLOCK_RECORDS
        return rows[start - offset : stop - offset]

    def values(self, start: int, stop: int) -> list[bytes]:
        return as_bytes(self.value_array(start, stop))

    # Records

    def pairs(self, start: int, stop: int) -> list[Pair]:
        first, last = start // BLOCK_RECORDS, -(-stop // BLOCK_RECORDS)
        rows = np.concatenate([self._key_block(block) for block in range(first, last)])
        offset = first * BLOCK_RECORDS
        keys = as_bytes(rows[start - offset : stop - offset])
        return list(zip(keys, self.values(start, stop), strict=True))

    def sorted_order(self) -> Indices:
        """The loaded records' numbers in the order of their keys."""
        words = self.key_array(self.records).view(">u8").astype(np.uint64)
        return np.lexsort((words[:, 1], words[:, 0])).astype(np.int64)

    def sorted_arrays(self) -> tuple[Bytes2D, Bytes2D]:
        order = self.sorted_order()
        return self.key_array(self.records)[order], self.value_array(0, self.records)[order]

    def batches(self) -> Iterator[list[Pair]]:
        """All loaded records in their random order, in batches, made as they are asked for."""
        for start in range(0, self.records, BLOCK_RECORDS):
            pairs = self.pairs(start, min(start + BLOCK_RECORDS, self.records))
            yield from slices(pairs, BATCH_RECORDS)

    # Access patterns

    def uniform(self, count: int, pattern: int) -> Indices:
        return self.random(PATTERN_STREAM, pattern).integers(0, self.records, count)

    def shuffled(self, pattern: int) -> Indices:
        return self.random(PATTERN_STREAM, pattern).permutation(self.records)

    def zipf(self, count: int, pattern: int, theta: float = 0.99) -> Indices:
        """Ranks with P(rank) ~ 1 / (rank + 1) ** theta. Keys are random, so neighbours in rank
        are scattered over the key space."""
        weights = np.arange(1, self.records + 1, dtype=np.float64) ** -theta
        cumulative = np.cumsum(weights)
        draws = self.random(PATTERN_STREAM, pattern).random(count) * cumulative[-1]
        return np.minimum(np.searchsorted(cumulative, draws), self.records - 1).astype(np.int64)
