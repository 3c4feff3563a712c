"""Find an order in which steps can be taken. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

Node = TypeVar("Node")


# No named tuples: before Python 3.11, these cannot be generic.
@dataclass(frozen=True)
class Edge(Generic[Node]):
    """``first`` must come before ``then``; an edge that is not ``is_hard`` is only a preference.

    The edge can be broken by setting the columns ``breakable`` of ``writer``, one of the two, to NULL for a
    while.
    """

    first: Node
    then: Node
    is_hard: bool
    writer: Node
    breakable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Order(Generic[Node]):
    """The nodes in order, the edges that were broken, and the nodes for which there is no order."""

    nodes: list[Node]
    broken: list[Edge[Node]]
    stuck: list[Node]


def order(nodes: Sequence[Node], edges: Iterable[Edge[Node]]) -> Order[Node]:
    """Sort topologically, keeping the given order otherwise; break preferences, then breakable edges."""
    numbers = {id(node): number for number, node in enumerate(nodes)}
    waits: list[list[tuple[int, Edge[Node]]]] = [[] for _ in nodes]
    pending = [dict[int, Edge[Node]]() for _ in nodes]
    for edge_number, edge in enumerate(edges):
        first, then = numbers[id(edge.first)], numbers[id(edge.then)]
        if first != then:
            waits[first].append((edge_number, edge))
            pending[then][edge_number] = edge
    left = set(range(len(nodes)))
    ready = [number for number in left if not pending[number]]
    heapify(ready)
    result = Order[Node]([], [], [])
    while left:
        if not ready and not _give_way(left, pending, ready, result.broken):
            result.stuck.extend(nodes[number] for number in sorted(left))
            return result
        number = heappop(ready)
        left.discard(number)
        result.nodes.append(nodes[number])
        for edge_number, edge in waits[number]:
            then = numbers[id(edge.then)]
            if pending[then].pop(edge_number, None) and not pending[then] and then in left:
                heappush(ready, then)
    return result


def _give_way(
    left: Collection[int],
    pending: list[dict[int, Edge[Node]]],
    ready: list[int],
    broken: list[Edge[Node]],
) -> bool:
    """Free one node of a cycle: by ignoring preferences if possible, or else by breaking edges."""
    soft = [number for number in left if not any(edge.is_hard for edge in pending[number].values())]
    if soft:
        number = min(soft)
        pending[number].clear()
        heappush(ready, number)
        return True
    free = [
        number for number in left if all(edge.breakable for edge in pending[number].values() if edge.is_hard)
    ]
    if not free:
        return False
    number = min(free)
    broken += [edge for edge in pending[number].values() if edge.is_hard]
    pending[number].clear()
    heappush(ready, number)
    return True
