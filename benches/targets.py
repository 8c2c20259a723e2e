"""What LyreDB is meant to reach, as ratios to peers in the same run."""

from __future__ import annotations

from dataclasses import dataclass

BEST = "best"

# Groups of stores a target may name: of a group, the better one counts.
GROUPS: dict[str, tuple[str, ...]] = {
    BEST: ("lmdb", "lmdb_writemap", "rocksdb", "leveldb", "sqlite"),
    "lmdb": ("lmdb", "lmdb_writemap"),
    "rocksdb": ("rocksdb",),
    "duckdb": ("duckdb",),
    "dict": ("dict",),
}


@dataclass(frozen=True)
class Target:
    """Be `ratio` times as good as the best of a group, or stay within `limit` of the measure."""

    work: str
    measure: str
    against: str = BEST
    ratio: float = 1.0
    limit: float | None = None


TARGETS: tuple[Target, ...] = (
    Target("get_uniform", "get", "lmdb", 3.0),
    Target("get_uniform", "get", "dict", 1.0),
    Target("get_zipf", "get", "lmdb", 2.5),
    Target("get_absent", "get", "lmdb", 4.0),
    Target("get_absent", "get", "rocksdb", 1.0),
    Target("multi_get", "get", "lmdb", 4.0),
    Target("put", "put", BEST, 4.0),
    Target("batch_random", "write", BEST, 2.0),
    Target("batch_sorted", "write", BEST, 1.0),
    Target("batch_arrow", "write", "lmdb", 2.0),
    Target("durable_put", "put", BEST, 1.0),
    Target("durable_put_8", "put", BEST, 1.3),
    Target("scan_pairs", "rows", BEST, 1.5),
    Target("scan_arrow", "rows", "duckdb", 2.0),
    Target("scan_100", "scan", BEST, 2.0),
    Target("ycsb_a", "operations", BEST, 2.0),
    Target("ycsb_b", "operations", BEST, 1.5),
    Target("ycsb_c", "operations", BEST, 1.5),
    Target("ycsb_d", "operations", BEST, 2.0),
    Target("ycsb_e", "operations", BEST, 2.0),
    Target("ycsb_f", "operations", BEST, 2.0),
    Target("get_computing", "get", "dict", 0.5),
    Target("readers_writer", "reads", BEST, 1.0),
    Target("readers_writer", "writes", BEST, 1.0),
    Target("delete", "delete", BEST, 1.0),
    Target("reopen", "open", limit=1.0),
    Target("size", "size", "rocksdb", 1.0),
)
