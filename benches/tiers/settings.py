"""What one run is asked to do; passed whole to every measuring process."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Settings:
    """The sizes of a run.

    A store's cache is given `memory_bytes`. Of its files the system may keep `page_cache_bytes` beside that, which is
    what reads under way need; a store whose cache is the system's gets `memory_bytes` there, and no more.
    """

    records: int = 18_500_000
    memory_bytes: int = 200_000_000
    page_cache_bytes: int = 4_000_000
    rounds: int = 3
    seconds: float = 6.0
    warm_seconds: float = 60.0
    load_seconds: float = 20.0
    hot_records: int = 1_000_000
    seed: int = 2013
    # Settings of LyreDB's own, handed to `lyredb.open`.
    lyredb: dict[str, int | str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


QUICK = Settings(
    records=80_000,
    memory_bytes=2_000_000,
    page_cache_bytes=1_000_000,
    rounds=1,
    seconds=0.3,
    warm_seconds=0.5,
    load_seconds=0.5,
    hot_records=20_000,
)
