"""An order in which steps can be taken. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import Generic, NamedTuple, TypeVar

Node = TypeVar("Node")


class Edge(NamedTuple, Generic[Node]):
    """``first`` before ``then``; one that is not ``is_hard`` only for preference.

    ``breakable``: columns of ``writer``, one of the two, that may be NULL for a while instead.
    """

    first: Node
    then: Node
    is_hard: bool
    writer: Node
    breakable: tuple[str, ...] = ()


class Order(NamedTuple, Generic[Node]):
    """Nodes in order; the edges that were broken; nodes for which there is no order."""

    nodes: list[Node]
    broken: list[Edge[Node]]
    stuck: list[Node]


def order(nodes: Sequence[Node], edges: Iterable[Edge[Node]]) -> Order[Node]:
    """Sort topologically, otherwise as given. In a cycle preferences give way, then breakable edges."""
    places = {id(node): place for place, node in enumerate(nodes)}
    waits: list[list[tuple[int, Edge[Node]]]] = [[] for _ in nodes]
    pending = [dict[int, Edge[Node]]() for _ in nodes]
    for number, edge in enumerate(edges):
        first, then = places[id(edge.first)], places[id(edge.then)]
        if first != then:
            waits[first].append((number, edge))
            pending[then][number] = edge
    left = set(range(len(nodes)))
    ready = [place for place in left if not pending[place]]
    heapify(ready)
    result = Order[Node]([], [], [])
    while left:
        if not ready and not _give_way(left, pending, ready, result.broken):
            result.stuck.extend(nodes[place] for place in sorted(left))
            return result
        place = heappop(ready)
        left.discard(place)
        result.nodes.append(nodes[place])
        for number, edge in waits[place]:
            then = places[id(edge.then)]
            if pending[then].pop(number, None) and not pending[then] and then in left:
                heappush(ready, then)
    return result


def _give_way(
    left: Collection[int],
    pending: list[dict[int, Edge[Node]]],
    ready: list[int],
    broken: list[Edge[Node]],
) -> bool:
    """Free one node of a cycle at the least cost."""
    soft = [place for place in left if not any(edge.is_hard for edge in pending[place].values())]
    if soft:
        place = min(soft)
        pending[place].clear()
        heappush(ready, place)
        return True
    free = [
        place for place in left if all(edge.breakable for edge in pending[place].values() if edge.is_hard)
    ]
    if not free:
        return False
    place = min(free)
    broken += [edge for edge in pending[place].values() if edge.is_hard]
    pending[place].clear()
    heappush(ready, place)
    return True
