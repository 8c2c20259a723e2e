"""What a plan is made from: curves, costs and sizes, as an open database has measured them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lyredb.db.settings import Value
from lyredb.db.stats import Histogram, Stats
from lyredb.tiering.plan import Costs, Curves, Fixed, Sizes

# Fewer times than this tell no cost.
_LEAST_TIMES = 20
# The slowest in a hundred times are those in which the system did something else.
_SLOWEST = 0.01
# A cold leaf has to be unpacked as well, so that a warm one takes at most this part of it: a guess until it is tried.
_WARM_TO_COLD = 0.6
# A record costs what a hot leaf does, and the way from the page's word to its excerpt.
_RECORD_TO_HOT = 1.3
# Of a leaf, the point cache holds up to 8 records and a fourth of its bytes, and a part of that on the average.
_MOST_KEPT = 8
_LARGEST_SHARE = 1 / 4
_USUALLY_KEPT = 1 / 4
# What the engine takes a record in the point cache for, beside its value.
_BESIDE_VALUE = 100


@dataclass(frozen=True)
class Seen:
    """The accesses to a family since the last look, and the curves of those before, too."""

    name: str
    leaves: list[tuple[int, float]]
    records: list[tuple[int, float]]
    leaf_accesses: int
    point_reads: int


def curves(seen: Iterable[Seen], before: Mapping[str, tuple[float, float]]) -> list[Curves]:
    """Curves with the accesses that they are of.

    Args:
        seen: By the engine.
        before: By family, accesses to leaves and point reads that are older than the last look, and still count.
    """
    found: list[Curves] = []
    for each in seen:
        leaves, points = before.get(each.name, (0.0, 0.0))
        accesses, point_reads = leaves + each.leaf_accesses, points + each.point_reads
        share = min(point_reads / accesses, 1.0) if accesses else 1.0
        found.append(Curves(each.name, each.leaves, each.records, accesses, share))
    return found


def costs(stats: Stats, known: Costs) -> Costs:
    """Costs by the histograms of gets; what they do not tell is as it was known before."""
    families = stats.family_histograms.values()
    gets = _sum([each["get"] for each in families if "get" in each])
    warm = _typical(_sum([each["get_warm"] for each in families if "get_warm" in each]))
    cold = _typical(_sum([each["get_cold"] for each in families if "get_cold" in each]))
    # Where some gets wait for the disk, the fastest are those of hot leaves.
    fast = gets.percentile(10) if gets and gets.count >= _LEAST_TIMES else None
    hot = fast or known.hot
    cold = max(cold or known.cold, hot)
    measured = warm is not None or known.warm_is_measured
    warm = warm or (known.warm if measured else min(known.warm, cold * _WARM_TO_COLD))
    # A cost below that of what is nearer would be chance.
    return Costs(hot, min(max(warm, hot), cold), hot * _RECORD_TO_HOT, cold, measured)


def _sum(histograms: list[Histogram]) -> Histogram | None:
    if not histograms:
        return None
    buckets = sorted((bucket for each in histograms for bucket in each.buckets), key=lambda bucket: bucket.low)
    return Histogram("seconds", sum(each.total for each in histograms), tuple(buckets))


def _typical(histogram: Histogram | None) -> float | None:
    """The mean but for the slowest."""
    if histogram is None or histogram.count < _LEAST_TIMES:
        return None
    left = wanted = histogram.count * (1 - _SLOWEST)
    total = 0.0
    for bucket in histogram.buckets:
        taken = min(left, bucket.count)
        total += taken * (bucket.low + bucket.high) / 2
        left -= taken
    return total / wanted


def since(later: Stats, earlier: Stats | None) -> Stats:
    """What happened between two readings, of histograms; figures are the later ones."""
    if earlier is None:
        return later
    histograms = {
        family: {
            name: _difference(histogram, earlier.family_histograms.get(family, {}).get(name))
            for name, histogram in rows.items()
        }
        for family, rows in later.family_histograms.items()
    }
    return Stats(later.database, later.families, later.database_histograms, histograms)


def _difference(later: Histogram, earlier: Histogram | None) -> Histogram:
    try:
        return later if earlier is None else later - earlier
    except ValueError:
        # The family was dropped meanwhile, and another one has its name.
        return later


def sizes(stats: Stats, known: Sizes) -> Sizes:
    """Sizes by what is in memory now."""
    figure = {name: value for name, value in stats.database.items() if isinstance(value, int)}

    def mean(total: str, number: str, least: int) -> float | None:
        return figure[total] / figure[number] if figure.get(number, 0) >= least else None

    read = mean("pages_read_bytes", "pages_read", 16) or mean("pages_written_bytes", "pages_written", 16)
    leaves = ("memory_leaves", "memory_long_values", "memory_warm", "memory_point_cache")
    image = mean("memory_leaves", "leaves_hot", 16) or known.image
    found = sum(int(rows["bytes_read"]) for rows in stats.families.values() if "bytes_read" in rows)
    gets = sum(int(rows["gets_found"]) for rows in stats.families.values() if "gets_found" in rows)
    stored = min(mean("memory_warm", "leaves_warm", 16) or read or known.stored, image)
    # As the engine measures its curve of point reads.
    record = found / gets + _BESIDE_VALUE if gets else known.record
    of_a_leaf = _USUALLY_KEPT * min(_MOST_KEPT * record, _LARGEST_SHARE * image)
    return Sizes(
        image=image,
        stored=stored,
        record=record,
        most_records=int(figure["file_used"] / stored * of_a_leaf),
        overhead=max(figure["memory_used"] - sum(figure[name] for name in leaves), 0),
    )


def fixed(settings: Mapping[str, Value], pinned: int) -> Fixed:
    """The tiers that the user has set, in place of -1, and the bytes that are pinned."""

    def of(name: str) -> int | None:
        value = settings.get(name, -1)
        return value if isinstance(value, int) and value >= 0 else None

    return Fixed(of("hot_bytes"), of("warm_bytes"), of("point_cache_bytes"), pinned)
