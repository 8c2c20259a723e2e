"""A process that fills a log and waits to be killed: `python -m benches.log_writer FOLDER CHECKPOINT_LOG_BYTES ...`."""

from __future__ import annotations

import sys
import time

import lyredb

from .data import Data, slices
from .settings import BATCH_RECORDS


def main(folder: str, checkpoint_log_bytes: str, records: str, seed: str) -> None:
    data = Data(int(seed), int(records))
    batches = slices(data.pairs(0, data.records), BATCH_RECORDS // 10)
    db = lyredb.open(folder, durability="async", checkpoint_log_bytes=int(checkpoint_log_bytes))
    start = time.perf_counter()
    for batch in batches:
        db.write_batch(batch)
    db.sync()
    print(data.records / (time.perf_counter() - start), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
