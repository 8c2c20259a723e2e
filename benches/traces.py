"""Real traces of what caches were asked for."""

from __future__ import annotations

import gzip
import lzma
import os
from array import array
from pathlib import Path

HERE = Path(__file__).parent.parent / "tests" / "data" / "traces"
# A folder that has `cloudPhysicsIO.csv.gz`, which is not carried.
ELSEWHERE = "LYREDB_TRACES"
SHARES = (0.01, 0.05, 0.20)


def names() -> list[str]:
    """The traces that are here."""
    return ["web12", "sprite", "loop", *(["cloudphysics"] if _cloud_physics() else [])]


def load(name: str) -> array[int]:
    """The keys of a trace in the order in which they were asked for."""
    if name == "web12":
        keys = array("I", lzma.decompress((HERE / "cache2k-web12.trace.xz").read_bytes()))
        keys.byteswap()
        return array("Q", keys)
    if name == "sprite":
        return array("Q", map(int, gzip.decompress((HERE / "lirs-sprite.trace.gz").read_bytes()).split()))
    if name == "loop":
        return array("Q", list(range(1011)) * 500)
    path = _cloud_physics()
    if name != "cloudphysics" or path is None:
        raise ValueError(f"no trace {name!r}; there are {', '.join(names())}")
    rows = gzip.decompress(path.read_bytes()).decode().splitlines()[1:]
    return array("Q", (int(row.rsplit(",", 1)[1]) for row in rows))


def _cloud_physics() -> Path | None:
    folder = os.environ.get(ELSEWHERE)
    path = Path(folder, "cloudPhysicsIO.csv.gz") if folder else None
    return path if path and path.exists() else None
