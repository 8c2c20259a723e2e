"""How to divide memory among the three forms that leaves have in it.

A *hot* leaf is an image that is read in place. A *warm* one is the page as it is stored: smaller, but it has to be
decompressed. The *point cache* has single records of leaves that are on disk: smallest, but for point reads alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from lyredb.tiering.reach import Points, Reach, time_when

STEP_PERMILLE = 50
LEAST_HOT_PERMILLE = 100
"""Writes and scans need leaves to work in."""
LEAST_GAIN = 0.03
"""By how much an access has to become cheaper for another plan to be taken."""

# What a scan brings in is among the first to go, so that it takes this part of the room that reads would take.
_SCANNED = 0.1
# More families than this make a plan slower, and those that are asked for least do not change it.
_MOST_FAMILIES = 8


@dataclass(frozen=True)
class Curves:
    """What is known of the accesses to one family."""

    name: str
    leaves: Points
    """Of all accesses, over bytes of leaf images: sizes rising from 0, and the miss ratio at each."""
    records: Points
    """Of point reads, over bytes of single records in the point cache."""
    accesses: float
    """How many there were; only their proportion to those of other families counts."""
    point_reads: float = 1.0
    """The part of them, 0 to 1, that one record answers. Scans and writes need the leaf."""


@dataclass(frozen=True)
class Costs:
    """Seconds that an access takes, by what memory has of its leaf. The defaults are guesses until it is measured."""

    hot: float = 0.5e-6
    warm: float = 12e-6
    record: float = 0.7e-6
    cold: float = 80e-6
    warm_is_measured: bool = False
    """Without it a warm leaf is taken to be cheaper than reading the file, so that the warm tier is tried."""


@dataclass(frozen=True)
class Sizes:
    """Bytes in memory, on the average."""

    image: float = 8192.0
    """Of a hot leaf."""
    stored: float = 4096.0
    """Of a warm leaf."""
    record: float = 250.0
    """Of a record in the point cache."""
    overhead: int = 0
    """Of all that is not leaves: inner pages, what identifies pages, buffers of the log."""
    most_records: int | None = None
    """The point cache holds no more: a leaf of which many records are read gets its image. None: no limit."""

    @property
    def compression(self) -> float:
        """How many warm leaves fit where there is one hot one."""
        return self.image / max(self.stored, 1.0)


@dataclass(frozen=True)
class Fixed:
    """Bytes of tiers that the user has set; None: to be planned."""

    hot: int | None = None
    warm: int | None = None
    point_cache: int | None = None
    pinned: int = 0
    """Bytes of hot leaves that have to stay; they are not taken for another tier."""


@dataclass(frozen=True)
class Split:
    """What is planned, in thousandths of the memory for leaves; the rest is hot."""

    warm_permille: int = 0
    point_cache_permille: int = 0


@dataclass(frozen=True)
class Tiers:
    """Bytes of each."""

    hot: int
    warm: int
    point_cache: int


@dataclass(frozen=True)
class Hits:
    """The parts of accesses, which add up to 1, that each tier answers."""

    hot: float
    warm: float
    record: float
    cold: float

    def cost(self, costs: Costs) -> float:
        """Seconds an access, on the average."""
        return self.hot * costs.hot + self.warm * costs.warm + self.record * costs.record + self.cold * costs.cold


@dataclass(frozen=True)
class Plan:
    """A division of memory, what is expected of it, and from what that was concluded."""

    budget: int
    """All memory, in bytes."""
    split: Split
    tiers: Tiers
    hits: Hits
    families: dict[str, Hits]
    cost: float
    """Expected seconds an access."""
    replaces: bool
    """False: what there was is nearly as good, and stays."""
    curves: tuple[Curves, ...] = field(repr=False)
    costs: Costs = field(default_factory=Costs)
    sizes: Sizes = field(default_factory=Sizes)
    fixed: Fixed = field(default_factory=Fixed)


def divide(split: Split, budget: int, sizes: Sizes, fixed: Fixed) -> Tiers:
    """The bytes that the engine makes of it: what the user has set comes first."""
    leaves = max(budget - sizes.overhead, 0)
    warm = min(leaves * split.warm_permille // 1000 if fixed.warm is None else fixed.warm, leaves)
    planned = leaves * split.point_cache_permille // 1000
    records = min(planned if fixed.point_cache is None else fixed.point_cache, leaves - warm)
    rest = leaves - warm - records
    return Tiers(rest if fixed.hot is None else min(fixed.hot, rest), warm, records)


class Model:
    """Expects what a division of memory is worth.

    - Each tier is a cache of least recent use of its own, and an access is hot if its leaf was asked for within the
      time T1 that the hot tier looks back, else warm within T2, where hot and warm leaves together reach.
    - Families share a tier, each with the bytes that were asked for within that time. What scans bring in takes a tenth
      of the room, as it is among the first to go.
    - The point cache holds records that were asked for between T2 and T3 and whose leaf is not in memory. Of records
      not asked for within T2, the part whose leaf was not either is taken to be the same for all: the ratio of the two
      curves at T2. It is what a record hits if it was asked for within T3.
    - The engine's replacement is better than least recent use, so a plan errs on the side of caution.
    - What moves between tiers costs nothing: leaves are packed, and first records kept, beside what is waited for.
    """

    def __init__(self, curves: Iterable[Curves], costs: Costs, sizes: Sizes) -> None:
        asked = [each for each in curves if each.accesses > 0]
        self.curves = sorted(asked, key=lambda each: -each.accesses)[:_MOST_FAMILIES]
        self.costs, self.sizes = costs, sizes
        everything = sum(each.accesses for each in self.curves)
        self._shares = [each.accesses / everything for each in self.curves]
        self._leaves: list[Reach] = []
        self._records: list[Reach] = []
        for each, share in zip(self.curves, self._shares, strict=True):
            taking = each.point_reads + (1 - each.point_reads) * _SCANNED
            self._leaves.append(Reach(each.leaves, share * taking * sizes.image))
            self._records.append(Reach(each.records, share * each.point_reads * sizes.record))
        self._ones = [1.0] * len(self.curves)
        self._known: dict[float, float] = {}

    def _looks_back(self, leaf_bytes: float) -> float:
        found = self._known.get(leaf_bytes)
        if found is None:
            found = self._known[leaf_bytes] = time_when(self._leaves, self._ones, 0.0, leaf_bytes)
        return found

    def hits(self, tiers: Tiers) -> dict[str, Hits]:
        """What each family's accesses find, by its name."""
        hot = self._looks_back(tiers.hot)
        warm = self._looks_back(tiers.hot + tiers.warm * self.sizes.compression)
        beyond: list[tuple[float, float, float]] = []
        for leaves, records in zip(self._leaves, self._records, strict=True):
            cold, new = leaves.at(warm)[1], records.at(warm)[1]
            beyond.append((cold, new, min(cold / new, 1.0) if new > 0 else 0.0))
        kept_records = tiers.point_cache
        if self.sizes.most_records is not None:
            kept_records = min(kept_records, self.sizes.most_records)
        remembered = time_when(self._records, [apart for _, _, apart in beyond], warm, kept_records)
        found: dict[str, Hits] = {}
        for family, leaves, records, (cold, new, apart) in zip(
            self.curves, self._leaves, self._records, beyond, strict=True
        ):
            not_hot = leaves.at(hot)[1]
            kept = family.point_reads * apart * max(new - records.at(remembered)[1], 0.0)
            kept = min(kept, cold)
            found[family.name] = Hits(1 - not_hot, not_hot - cold, kept, cold - kept)
        return found

    def together(self, families: dict[str, Hits]) -> Hits:
        """The same for all accesses."""
        if not families:
            return Hits(1.0, 0.0, 0.0, 0.0)
        rows = [(share, families[family.name]) for family, share in zip(self.curves, self._shares, strict=True)]
        return Hits(
            sum(share * each.hot for share, each in rows),
            sum(share * each.warm for share, each in rows),
            sum(share * each.record for share, each in rows),
            sum(share * each.cold for share, each in rows),
        )


def plan(
    curves: Iterable[Curves],
    costs: Costs,
    sizes: Sizes,
    budget: int,
    *,
    fixed: Fixed | None = None,
    current: Split | None = None,
) -> Plan:
    """The division of memory with the lowest expected cost of an access, of all in steps of 5 %.

    `Model` says how that cost is expected, and what it neglects. Among equals the one with the most hot leaves is
    taken. Takes some milliseconds a family.

    Args:
        curves: Of the families.
        costs: Of an access.
        sizes: Of what is in memory.
        budget: All memory in bytes, with what is not leaves.
        fixed: What the user has set.
        current: What is in force; it stays if nothing is cheaper by at least 3 %.
    """
    model, fixed = Model(curves, costs, sizes), fixed or Fixed()

    def expect(split: Split) -> Plan:
        tiers = divide(split, budget, sizes, fixed)
        families = model.hits(tiers)
        hits = model.together(families)
        known = tuple(model.curves)
        return Plan(budget, split, tiers, hits, families, hits.cost(costs), True, known, costs, sizes, fixed)

    # The first of equals is kept, so this goes from much hot memory to little.
    least_hot = min(max(fixed.hot or 0, fixed.pinned), divide(Split(), budget, sizes, fixed).hot)
    possible = [split for split in _splits(fixed) if divide(split, budget, sizes, fixed).hot >= least_hot]
    best = min(map(expect, possible), key=lambda each: each.cost)
    if current is not None and current != best.split:
        present = expect(current)
        if best.cost > present.cost * (1 - LEAST_GAIN):
            return replace(present, replaces=False)
    return replace(best, replaces=best.split != current)


def _splits(fixed: Fixed) -> list[Split]:
    most = 1000 - LEAST_HOT_PERMILLE
    warm = [0] if fixed.warm is not None else range(0, most + 1, STEP_PERMILLE)
    records = [0] if fixed.point_cache is not None else range(0, most + 1, STEP_PERMILLE)
    splits = [Split(first, second) for first in warm for second in records if first + second <= most]
    return sorted(splits, key=lambda split: split.warm_permille + split.point_cache_permille)


def what_if(present: Plan, factors: Sequence[float] = (1.1, 1.5, 2.0)) -> list[Plan]:
    """Plans for as many times the memory: what each is expected to cost an access, and to answer from which tier."""
    return [
        plan(present.curves, present.costs, present.sizes, int(present.budget * factor), fixed=present.fixed)
        for factor in factors
    ]
