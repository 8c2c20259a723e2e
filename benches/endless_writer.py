"""A process that writes until it is killed: `python -m benches.endless_writer STORE FOLDER ...`."""

from __future__ import annotations

import sys
from pathlib import Path

from .data import BLOCK_RECORDS, Data, slices
from .settings import BATCH_RECORDS
from .stores import load


def main(name: str, folder: str, memory_bytes: str, seed: str) -> None:
    # A seed of its own: new records only, and other ones after each kill.
    data = Data(int(seed), BLOCK_RECORDS)
    store = load(name)(Path(folder), memory_bytes=int(memory_bytes))
    batches = slices(data.pairs(0, data.records), BATCH_RECORDS // 10)
    store.write_batch(batches[0])
    print("writing", flush=True)
    while True:
        for batch in batches:
            store.write_batch(batch)


if __name__ == "__main__":
    main(*sys.argv[1:])
