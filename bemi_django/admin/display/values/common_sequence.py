"""Find what two sequences have in common in the same order: as much as possible, by Hunt and Szymanski."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple


class _Chain(NamedTuple):
    """Equal items of both sequences, the last of them first."""

    i: int
    k: int
    before: _Chain | None


def common_sequence(one: Sequence[str], other: Sequence[str]) -> list[tuple[int, int]]:
    """Return where the items of a longest common subsequence are in both sequences.

    It takes time in proportion to the pairs of equal items.
    """
    places: dict[str, list[int]] = {}
    for k, item in enumerate(other):
        places.setdefault(item, []).append(k)
    # Of the chains of each length, the one that ends first, and where that is.
    chains: list[_Chain] = []
    ends: list[int] = []
    for i, item in enumerate(one):
        for k in reversed(places.get(item, ())):
            length = bisect_left(ends, k)
            chain = _Chain(i, k, chains[length - 1] if length else None)
            chains[length : length + 1] = [chain]
            ends[length : length + 1] = [k]
    found = []
    chain_left = chains[-1] if chains else None
    while chain_left is not None:
        found.append((chain_left.i, chain_left.k))
        chain_left = chain_left.before
    return found[::-1]
