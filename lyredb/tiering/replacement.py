"""Replacement policies on traces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from lyredb import _engine
from lyredb.tiering.columns import integers

if TYPE_CHECKING:
    from lyredb.tiering.columns import Integers

Policy: TypeAlias = Literal["second_chance", "sieve", "s3fifo", "adaptive"]
POLICIES: tuple[Policy, ...] = get_args(Policy)


def simulate(
    identities: Integers | Iterable[int],
    size: int,
    policy: Policy = "adaptive",
    *,
    sizes: Integers | Iterable[int] | None = None,
) -> int:
    """Hits of a trace in an empty cache of the engine's own queues.

    Args:
        identities: what was asked for, in order: a numpy array, or another buffer, of integers of 64 bits; or any
            integers from 0 to 2**64 - 1.
        size: bytes that the cache holds at most.
        policy: which entry goes first. "second_chance" is a clock, "sieve" is of Zhang et al., NSDI '24, "s3fifo" of
            Yang et al., SOSP '23, and "adaptive" runs small simulated caches of a few kinds of the latter, to find
            which has most hits.
        sizes: bytes of each access, 1 to 2**32 - 1; 1 each without. What is larger than the cache passes by it.

    Raises:
        ValueError: there is no such policy, a size is out of range, there are not as many sizes as identities, or a
            buffer is of something else.
    """
    return _engine.simulate_cache(integers(identities), size, policy, None if sizes is None else integers(sizes))
