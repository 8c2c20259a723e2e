"""One measurement in a process of its own: a JSON request on stdin, a JSON answer on stdout."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .channel import channel
from .data import Data
from .settings import Settings
from .stores import load
from .workloads import WORKLOADS, Context
from .workloads.base import load_folder

PREPARE = "prepare"


@dataclass(frozen=True)
class Request:
    """Measure `work`, or with `PREPARE` load `records` records into the prepared folder."""

    work: str
    store: str
    records: int
    prepared: str
    scratch: str
    settings: dict[str, Any]


def _peak_memory_bytes() -> int | None:
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def answer(request: Request) -> dict[str, Any]:
    settings = Settings(**request.settings)
    context = Context(
        store=load(request.store),
        settings=settings,
        data=Data(settings.seed, request.records),
        prepared=Path(request.prepared),
        scratch=Path(request.scratch),
    )
    start = time.perf_counter()
    if request.work == PREPARE:
        load_folder(context)
        return {"process_seconds": time.perf_counter() - start}
    context.scratch.mkdir(parents=True, exist_ok=True)
    result = WORKLOADS[request.work].run(context)
    return {
        "figures": result.figures,
        "operations": result.operations,
        "seconds": result.seconds,
        "process_seconds": time.perf_counter() - start,
        "peak_memory_bytes": _peak_memory_bytes(),
    }


def main() -> None:
    with channel() as answers:
        json.dump(answer(Request(**json.load(sys.stdin))), answers)


if __name__ == "__main__":
    main()
