"""Windows of time, as feature vectors."""

from __future__ import annotations

from typing import Any

from lyredb.autotune import features
from lyredb.autotune.features import Reading, Vector

SECONDS = 0.25
"""How long a window is."""

# A window with less work in it says little: so many operations, or rows of a scan that goes on for longer.
_FEWEST_OPERATIONS = 16
_FEWEST_ROWS = 500


def enough(earlier: Reading, later: Reading) -> bool:
    """Whether so much happened between two readings that their vector tells what."""
    rows = later.get("rows_scanned", 0.0) - earlier.get("rows_scanned", 0.0)
    return features.operations(earlier, later) >= _FEWEST_OPERATIONS or rows >= _FEWEST_ROWS


class Windows:
    """Reads an engine again and again."""

    def __init__(self, engine: Any) -> None:
        """Starts the engine's sketch.

        Args:
            engine: An `_engine.Engine`, or what has its `sense`.
        """
        self._engine = engine
        self._last: dict[str, Reading] = engine.sense()

    def take(self) -> dict[str, Vector]:
        """The vectors of the families with enough work since the last call, or since this was made."""
        now: dict[str, Reading] = self._engine.sense()
        earlier, self._last = self._last, now
        return {
            family: features.vector(earlier.get(family, {}), reading)
            for family, reading in now.items()
            if enough(earlier.get(family, {}), reading)
        }
