"""Nodes and edges, followed hop by hop."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lyredb.autotune.workloads.base import LOADING, SHARED, Key, Steps, Workload, write
from lyredb.autotune.workloads.common import common
from lyredb.autotune.workloads.draws import Draws

if TYPE_CHECKING:
    from typing_extensions import Self

_HOPS = 32


@dataclass(frozen=True, kw_only=True)
class Graph(Workload):
    """Walks and searches from node to node.

    Attributes:
        stored: "edges", a key for each, read by scans of those that begin with a node; or "lists", a node's neighbours
            in its value, read by gets.
        degree: Neighbours of a node, about; there are `records` edges.
        walk: "random", from each node to one of its neighbours; "search", breadth first from some node.
        looked_up: How many hops look at the record of a node, beside its edges. Only of stored edges.
        changed: How many hops change an edge, or a list, too.
    """

    kind: ClassVar[str] = "graph"

    stored: str
    degree: int
    walk: str
    looked_up: float = 0.0
    changed: float = 0.0

    @classmethod
    def drawn(cls, draws: Draws) -> Self:
        stored = draws.one(("edges", "lists"))
        spellings = ("text", "str") if stored == "edges" else ("text", "str", "int")
        return cls(
            **common(draws, 3_000, 150_000, spellings=spellings),
            stored=stored,
            degree=draws.size(3, 30),
            walk=draws.one(("random", "search")),
            looked_up=draws.one((0.0, draws.share(0.0, 0.5))) if stored == "edges" else 0.0,
            changed=draws.one((0.0, draws.share(0.0, 0.1))),
        )

    @property
    def variant(self) -> str:
        return f"{self.stored}-{self.walk}"

    @property
    def nodes(self) -> int:
        """How many there are."""
        return max(10, self.records // self.degree)

    def load(self, family: Any) -> None:
        write(family, self._edges() if self.stored == "edges" else self._lists())

    def steps(self, family: Any, worker: int) -> Steps:
        draws = self.draws(worker)
        neighbours = self._by_edges(family, draws) if self.stored == "edges" else self._by_lists(family, draws)
        return self._search(draws, neighbours) if self.walk == "search" else self._walk(draws, neighbours)

    def _around(self) -> Iterator[tuple[int, list[int]]]:
        """The neighbours of each node: some have many, most few, and popular ones are everybody's."""
        draws = self.draws(LOADING)
        popular = draws.zipf(self.nodes, 0.5, places=self.draws(SHARED).shuffled(self.nodes))
        for node in range(self.nodes):
            yield node, sorted({next(popular) for _ in range(draws.size(1, 2 * self.degree))})

    def _name(self, node: int) -> str:
        return f"{self.space}n{node:07}"

    def _key(self, text: str) -> Key:
        return text if self.spelling == "str" else text.encode()

    def _node_key(self, node: int) -> Key:
        return node + 1_000 if self.spelling == "int" else self._key(self._name(node))

    def _edges(self) -> Iterator[tuple[Key, bytes]]:
        for node, around in self._around():
            yield self._node_key(node), b"{}" * 20
            for neighbour in around:
                yield self._edge(node, neighbour), b"\x01\x02\x03\x04"

    def _edge(self, node: int, neighbour: int) -> Key:
        return self._key(f"{self._name(node)}>{self._name(neighbour)}")

    def _lists(self) -> Iterator[tuple[Key, bytes]]:
        for node, around in self._around():
            yield self._node_key(node), self._list(around)

    def _list(self, around: Sequence[int]) -> bytes:
        if self.spelling == "int":
            return struct.pack(f"<{len(around)}q", *(neighbour + 1_000 for neighbour in around))
        return ",".join(map(self._name, around)).encode()

    def _by_edges(self, family: Any, draws: Draws) -> Callable[[int], list[int]]:
        chances = draws.chances()

        def neighbours(node: int) -> list[int]:
            if next(chances) < self.looked_up:
                family.get(self._node_key(node))
            keys = family.scan(prefix=self._key(f"{self._name(node)}>")).keys()
            found = [int(key[-7:]) for key in keys]
            if next(chances) < self.changed:
                edge = self._edge(node, draws.below(self.nodes))
                # Edges come and go, so that there stay about as many.
                if next(chances) < 0.5 or not found:
                    family.put(edge, b"\x01\x02\x03\x04")
                else:
                    family.delete(self._edge(node, found[-1]))
            return found

        return neighbours

    def _by_lists(self, family: Any, draws: Draws) -> Callable[[int], list[int]]:
        chances, numbers = draws.chances(), self.spelling == "int"

        def neighbours(node: int) -> list[int]:
            value = family.get(self._node_key(node))
            if numbers:
                found = [number - 1_000 for (number,) in struct.iter_unpack("<q", value)]
            else:
                found = [int(name[-7:]) for name in value.decode().split(",") if name]
            if next(chances) < self.changed:
                family.put(self._node_key(node), self._list([*found[1:], draws.below(self.nodes)]))
            return found

        return neighbours

    def _walk(self, draws: Draws, neighbours: Callable[[int], list[int]]) -> Steps:
        chances, node = draws.chances(), 0
        while True:
            for hop in range(_HOPS):
                around = neighbours(node)
                node = around[int(next(chances) * len(around))] if around and hop else draws.below(self.nodes)
            yield _HOPS

    def _search(self, draws: Draws, neighbours: Callable[[int], list[int]]) -> Steps:
        while True:
            frontier = [draws.below(self.nodes)]
            seen, hops = set(frontier), 0
            # Some hundred nodes around: a search for somebody near by.
            most = draws.size(20, 500)
            while frontier and hops < most:
                further: list[int] = []
                for node in frontier:
                    further += [each for each in neighbours(node) if each not in seen and not seen.add(each)]
                    hops += 1
                    if hops % _HOPS == 0:
                        yield _HOPS
                frontier = further
            yield hops % _HOPS
