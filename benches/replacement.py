"""`python -m benches.replacement`: hit ratios of the engine's replacement policies and of others on real traces, and
how true the curves of miss ratios are.

Others are simulated by libcachesim. Ends with status 1 if the adaptive policy is short of the best of them anywhere.
"""

from __future__ import annotations

import argparse
import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from lyredb import tiering

from . import traces

PEERS = ("LRU", "ARC", "Sieve", "S3FIFO")
OURS = {"second_chance": "second chance", "sieve": "SIEVE", "s3fifo": "S3-FIFO", "adaptive": "adaptive"}
POINTS = 200


@dataclass(frozen=True)
class Cell:
    """Hit ratios with a cache of so many entries."""

    trace: str
    share: float
    size: int
    peers: dict[str, float]
    ours: dict[str, float]

    @property
    def lead(self) -> float:
        return self.ours["adaptive"] - max(self.peers.values())


@dataclass(frozen=True)
class Curve:
    """How far the curve of samples is from that of all keys, over sizes up to all keys."""

    trace: str
    rate: float
    mean: float
    greatest: float


def peer_hits(name: str, keys: array[int], size: int) -> int:
    import libcachesim

    cache = getattr(libcachesim, name)(size)
    request = libcachesim.Request()
    request.obj_size = 1
    hits = 0
    for key in keys:
        request.obj_id = key
        hits += cache.get(request)
    return hits


def measure(name: str, keys: array[int], share: float) -> Cell:
    size = int(len(set(keys)) * share)
    return Cell(
        trace=name,
        share=share,
        size=size,
        peers={peer: peer_hits(peer, keys, size) / len(keys) for peer in PEERS},
        ours={policy: tiering.simulate(keys, size, policy) / len(keys) for policy in tiering.POLICIES},
    )


def measure_curve(name: str, keys: array[int]) -> Curve:
    footprint = len(set(keys))
    sampled, exact = tiering.MissRatioCurve(), tiering.MissRatioCurve(most_samples=footprint)
    for curve in (sampled, exact):
        curve.access(keys)
    sizes = [footprint * point // POINTS for point in range(1, POINTS + 1)]
    errors = [abs(sampled.miss_ratio(size) - exact.miss_ratio(size)) for size in sizes]
    return Curve(trace=name, rate=sampled.rate, mean=sum(errors) / len(errors), greatest=max(errors))


def table(cells: list[Cell]) -> str:
    """In Markdown."""
    titles = ["trace", "cache", *PEERS, *(f"LyreDB {name}" for name in OURS.values()), "adaptive beside the best"]
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)]]
    for cell in cells:
        ratios = [*cell.peers.values(), *(cell.ours[policy] for policy in OURS)]
        cache = f"{100 * cell.share:g}%: {cell.size:,}"
        lines.append([cell.trace, cache, *(f"{100 * ratio:.2f}" for ratio in ratios), f"{100 * cell.lead:+.2f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def curve_table(curves: list[Curve]) -> str:
    """In Markdown."""
    lines = [["trace", "keys followed", "mean error", "greatest error"], ["---", "---:", "---:", "---:"]]
    for curve in curves:
        lines.append([curve.trace, f"{curve.rate:.0%}", f"{curve.mean:.4f}", f"{curve.greatest:.4f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: list[str] | None = None, say: Callable[[str], None] = print) -> int:
    parser = argparse.ArgumentParser(prog="python -m benches.replacement", description=__doc__)
    parser.add_argument("--traces", nargs="+", choices=traces.names(), default=traces.names())
    parser.add_argument("--shares", nargs="+", type=float, default=traces.SHARES, help="room, by all keys")
    options = parser.parse_args(arguments)
    loaded = {name: traces.load(name) for name in options.traces}
    cells = [measure(name, keys, share) for name, keys in loaded.items() for share in options.shares]
    say(table(cells))
    say("")
    say(curve_table([measure_curve(name, keys) for name, keys in loaded.items()]))
    return 0 if all(cell.lead >= 0 for cell in cells) else 1


if __name__ == "__main__":
    sys.exit(main())
