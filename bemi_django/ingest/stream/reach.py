"""How far the log and its queue go, lane by lane, in the WAL of today."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from bemi_django.ingest.destination.lanes import LaneState
from bemi_django.wire.lane import LanePosition, shared_lsn
from bemi_django.wire.sequence import HistoryStart


class Queued(Protocol):
    """What a queue has of the slot."""

    @property
    def is_empty(self) -> bool:
        """Whether it has nothing."""

    def ends(self, lanes: Sequence[int]) -> dict[int, LaneState]:
        """Return the end of the last message of each lane that has one in the queue."""

    def is_writable(self, states: Mapping[int, LaneState], histories: Sequence[HistoryStart]) -> bool:
        """Return whether consumers can write any of it to the log."""


class Reach(NamedTuple):
    """All lanes have what is before ``slowest``, and none has what is after ``fastest``; both in bytes."""

    slowest: int = 0
    fastest: int = 0


def reach_of(positions: Iterable[LanePosition], histories: Sequence[HistoryStart]) -> Reach:
    """Return how far lanes go, given where each has come to."""
    reaches = [
        # In the middle of a transaction, the sequence number is where it commits; it ends later.
        (shared_lsn(sequence - (ordinal > 0), histories), shared_lsn(sequence + 8 * (ordinal > 0), histories))
        for sequence, ordinal in positions
    ]
    return (
        Reach(min(slowest for slowest, _ in reaches), max(fastest for _, fastest in reaches))
        if reaches
        else Reach()
    )


def with_queued(states: Mapping[int, LaneState], queued: Queued) -> list[LanePosition]:
    """Return how far each lane goes with what the queue has."""
    ends = queued.ends(list(states))
    return [max(state.position, ends.get(lane, state).position) for lane, state in states.items()]
