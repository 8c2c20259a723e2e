"""What one of the demo's databases must hold by now, as pandas has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lyredb.experiments.flights.data import CANCELLED, Data


@dataclass
class Mirror:
    """Grows with the work that its database has done; a phase's `check` sees to that."""

    # Minutes of delay of each flight, `CANCELLED` of those that did not leave.
    delays: Any
    # Sums over `delays` by day and carrier, as long as they hold.
    by_day: Any = None
    # How many blocks of weather were appended.
    weather_blocks: int = 0
    # When each cached page had been put, by its stamp; both on the monotonic clock.
    pages_put: dict[float, float] = field(default_factory=dict[float, float])

    @classmethod
    def of(cls, data: Data) -> Mirror:
        """Of a database into which the data was just loaded."""
        return cls(data.flights["dep_delay"].fillna(CANCELLED).to_numpy(dtype="<i4"))
