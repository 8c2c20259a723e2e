"""What blocks tell of an arm beside another: ratios of speed, their intervals, the worst stretch, the time to adapt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import NamedTuple

from lyredb.experiments.flights.data import numpy
from lyredb.experiments.flights.timeline import DEFAULT, Block

_RESAMPLES = 2_000
_FEWEST_TURNS = 5
# A stretch shorter than this says little: the noise of a block is several percent.
_STRETCH_SECONDS = 1.0


@dataclass(frozen=True)
class Pair:
    """A block of an arm, and how long the reference took for the same work in the same round."""

    segment: int
    turn: int
    seconds: float
    reference_seconds: float


class Interval(NamedTuple):
    """An estimate with the bounds that hold it with a probability of 95 %."""

    low: float
    middle: float
    high: float


class Span(NamedTuple):
    """The own time of an arm at which something begins and ends, from the first of its blocks, and a ratio."""

    begin_seconds: float
    end_seconds: float
    ratio: float


def paired(blocks: Iterable[Block], arm: str, reference: str = DEFAULT) -> list[Pair]:
    """The blocks of an arm in order, each beside the reference's; those without one are left out."""
    blocks = list(blocks)
    beside = {(block.segment, block.turn, block.place): block for block in blocks if block.arm == reference}
    pairs: list[Pair] = []
    for block in blocks:
        other = beside.get((block.segment, block.turn, block.place))
        if block.arm == arm and other is not None:
            # A reading more or less in an hour: the reference's time for as many operations.
            pairs.append(Pair(block.segment, block.turn, block.seconds, block.operations / other.rate))
    return pairs


def ratio(pairs: Sequence[Pair]) -> float:
    """How many times as fast as the reference: its time for the same work over the arm's own."""
    return sum(pair.reference_seconds for pair in pairs) / sum(pair.seconds for pair in pairs)


def interval(pairs: Sequence[Pair], seed: int = 0) -> Interval:
    """The ratio with its 95 % interval, by bootstrap.

    What is drawn are turns, whose blocks share what disturbs them; of fewer than five turns, blocks.
    """
    parts = [list(group) for _, group in groupby(pairs, lambda pair: (pair.segment, pair.turn))]
    if len(parts) < _FEWEST_TURNS:
        parts = [[pair] for pair in pairs]
    own = numpy.array([sum(pair.seconds for pair in part) for part in parts])
    reference = numpy.array([sum(pair.reference_seconds for pair in part) for part in parts])
    drawn = numpy.random.default_rng(seed).integers(0, len(parts), (_RESAMPLES, len(parts)))
    ratios = reference[drawn].sum(axis=1) / own[drawn].sum(axis=1)
    low, high = numpy.quantile(ratios, (0.025, 0.975)).tolist()
    return Interval(low, ratio(pairs), high)


def rolling(pairs: Sequence[Pair], seconds: float) -> list[Span]:
    """The ratio of every stretch of at least so many seconds of own work; of all, if there is less."""
    if not pairs:
        return []
    spans: list[Span] = []
    first = 0
    begin = end = own = reference = 0.0
    for pair in pairs:
        end += pair.seconds
        own += pair.seconds
        reference += pair.reference_seconds
        while own - pairs[first].seconds >= seconds:
            own -= pairs[first].seconds
            reference -= pairs[first].reference_seconds
            begin += pairs[first].seconds
            first += 1
        if own >= seconds:
            spans.append(Span(begin, end, reference / own))
    return spans or [Span(0.0, end, ratio(pairs))]


def worst(pairs: Sequence[Pair], seconds: float = 5.0) -> Span:
    """The stretch of so many seconds of own work that was slowest beside the reference."""
    return min(rolling(pairs, seconds), key=lambda span: span.ratio)


def time_to_adapt(pairs: Sequence[Pair], goal: float) -> float | None:
    """Seconds of own work until the ratio to the reference reaches a goal, over a second, and keeps it on the average.

    Returns:
        0, if it does from the start; None, if it never does.
    """
    for span in rolling(pairs, _STRETCH_SECONDS):
        if span.ratio >= goal and ratio(_since(pairs, span.begin_seconds)) >= goal:
            return span.begin_seconds
    return None


def _since(pairs: Sequence[Pair], begin_seconds: float) -> Sequence[Pair]:
    """The pairs from a moment of own work on at which one begins."""
    ends = accumulate(pair.seconds for pair in pairs)
    return [pair for pair, end in zip(pairs, ends, strict=True) if end - pair.seconds / 2 > begin_seconds]


def over_all(ratios: Sequence[tuple[float, float]]) -> float:
    """The ratio over several parts of the work, from (the reference's seconds for a part, the ratio in it)."""
    return sum(seconds for seconds, _ in ratios) / sum(seconds / part for seconds, part in ratios)
