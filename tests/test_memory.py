"""Reads alone keep to `memory_bytes`, whatever they load."""

import random
import time
from pathlib import Path
from statistics import median

import lyredb


def test_reads_keep_to_the_memory_budget(tmp_path: Path) -> None:
    budget = 4 << 20
    keys = [b"%07d" % number for number in range(200_000)]
    with lyredb.open(tmp_path / "db", durability="async") as db:
        db.write_batch((key, key * 14) for key in keys)
        db.checkpoint()
    random.Random(1).shuffle(keys)
    with lyredb.open(tmp_path / "db", memory_bytes=budget) as db:
        used = []
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            for start in range(0, 50_000, 1000):
                for key in keys[start : start + 1000]:
                    db.get(key)
                used.append(db.stats().database["memory_used"])
        # What writers are allowed: a quarter more and 4 MiB.
        assert median(used) <= budget * 5 // 4 + (4 << 20), f"median {median(used):,}, most {max(used):,} of {budget:,}"
