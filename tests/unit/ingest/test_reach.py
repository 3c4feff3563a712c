"""How far lanes go in the WAL of the latest history."""

from __future__ import annotations

import pytest

from bemi_django.ingest.stream.reach import Reach, reach_of
from bemi_django.wire.lane import LanePosition, is_of_lost_wal
from bemi_django.wire.sequence import HistoryStart, sequence_of

#: The second one has left the first at 800, the third one the second at 1600.
HISTORIES = [HistoryStart(0, 0), HistoryStart(1, 800), HistoryStart(2, 1600)]


def at(history: int, lsn: int, ordinal: int = 0) -> LanePosition:
    return LanePosition(sequence_of(history, lsn), ordinal)


@pytest.mark.parametrize(
    ("position", "is_lost"),
    [
        (at(0, 792), False),
        (at(0, 800), False),
        # A transaction that commits there is one of the other history.
        (at(0, 800, 3), True),
        (at(0, 792, 3), False),
        (at(0, 2000), True),
        (at(1, 1600), False),
        (at(1, 1608), True),
        (at(2, 99999, 1), False),
    ],
)
def test_wal_beyond_the_place_where_it_was_left_is_lost(position: LanePosition, is_lost: bool) -> None:
    assert is_of_lost_wal(position, HISTORIES) is is_lost


def test_lanes_reach_as_far_as_they_share_the_wal() -> None:
    assert reach_of([], HISTORIES) == Reach(0, 0)
    assert reach_of([at(0, 400), at(0, 2000), at(0, 480, 2)], HISTORIES) == Reach(400, 800)
    # In the middle of a transaction that commits there, only those before it are there, and it ends later.
    assert reach_of([at(2, 1608, 1), at(2, 1608, 2)], HISTORIES) == Reach(1607, 1616)
