"""What one run of the benchmarks is asked to do; passed whole to every measuring process."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

KEY_BYTES = 16
VALUE_BYTES = 100
RECORD_BYTES = KEY_BYTES + VALUE_BYTES
BATCH_RECORDS = 1_000


@dataclass(frozen=True)
class Settings:
    """The sizes of a run. `seconds` caps each timed loop, so that a slow store cannot stall it."""

    records: int = 1_000_000
    rounds: int = 5
    operations: int = 500_000
    seconds: float = 1.0
    concurrent_seconds: float = 1.5
    reopen_bytes: int = 1_000_000_000
    seed: int = 2013

    @property
    def memory_bytes(self) -> int:
        """The cache each store is given: enough to hold every record, with room to spare."""
        return max(512 << 20, 512 * self.records)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


QUICK = Settings(
    records=20_000,
    rounds=1,
    operations=20_000,
    seconds=0.15,
    concurrent_seconds=0.2,
    reopen_bytes=20_000_000,
)
