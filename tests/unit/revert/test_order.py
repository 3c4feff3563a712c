"""The order of steps, in any graph."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bemi_django.revert.order import Edge, order

places = st.integers(0, 7)
edges = st.lists(
    st.builds(
        lambda first, then, is_hard, breakable: (first, then, is_hard, ("up",) if breakable else ()),
        places,
        places,
        st.booleans(),
        st.booleans(),
    ),
    max_size=14,
)


class Node:
    """Equal to nothing else."""


def test_without_edges_the_order_stays() -> None:
    nodes = [Node() for _ in range(5)]
    assert order(nodes, []).nodes == nodes


def test_a_preference_gives_way_before_an_edge_is_broken() -> None:
    one, two = Node(), Node()
    found = order([one, two], [Edge(one, two, True, two, ("up",)), Edge(two, one, False, one)])
    assert (found.nodes, found.broken, found.stuck) == ([one, two], [], [])


def test_what_can_be_broken_is_and_what_cannot_is_stuck() -> None:
    one, two = Node(), Node()
    forth, back = Edge(one, two, True, two, ("up",)), Edge(two, one, True, one)
    assert order([one, two], [forth, back]).broken == [forth]
    assert order([one, two], [forth, back]).nodes == [two, one]
    stuck = order([one, two], [replace(forth, breakable=()), back])
    assert (stuck.nodes, stuck.stuck) == ([], [one, two])


@given(edges)
def test_every_hard_edge_is_kept_or_said_to_be_broken(
    drawn: list[tuple[int, int, bool, tuple[str, ...]]],
) -> None:
    nodes = [Node() for _ in range(8)]
    given_edges = [
        Edge(nodes[first], nodes[then], is_hard, nodes[then], breakable)
        for first, then, is_hard, breakable in drawn
    ]
    found = order(nodes, given_edges)
    assert len(found.nodes) + len(found.stuck) == 8
    position = {id(node): place for place, node in enumerate(found.nodes)}
    broken = {id(edge) for edge in found.broken}
    assert all(edge.is_hard and edge.breakable for edge in found.broken)
    for edge in given_edges:
        if (
            edge.is_hard
            and edge.first is not edge.then
            and id(edge) not in broken
            and id(edge.then) in position
        ):
            assert position[id(edge.first)] < position[id(edge.then)]
    if found.stuck:
        assert any(edge.is_hard and not edge.breakable for edge in given_edges)
