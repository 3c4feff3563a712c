"""What of a chunk of a queue a destination is to write."""

from __future__ import annotations

from uuid import UUID

from bemi_django.ingest.config import Divided
from bemi_django.ingest.destination import sealing
from bemi_django.ingest.destination.lanes import LaneMove
from bemi_django.ingest.queue.message.chunk import Chunk
from bemi_django.ingest.queue.message.row_values import ID, Values, destination_of, position_of
from bemi_django.wire.lane import LanePosition


class TakenChunk:
    """A chunk that is to be written: what of it is not in the log yet, and belongs there.

    Args:
        chunk: The chunk.
        position: Where its lane is.
        message: The number of its last message, as the queue counts.
        divided: Which changes belong to the destination; None for all. Every destination has all dead letters
            and omissions: which table a letter is of may not be known.
        stream: The identity of the stream of the message.
    """

    def __init__(
        self,
        chunk: Chunk,
        position: LanePosition,
        message: int,
        divided: Divided | None = None,
        stream: str = "",
    ) -> None:
        changes = chunk.changes
        if chunk.begin < position:
            changes = [one for one in changes if position_of(UUID(one[ID]).bytes) >= position]
        if divided is not None and chunk.division != divided.division.fingerprint:
            # One without this destination: see is_of_another().
            chunk = chunk._replace(letters=[], omissions=[])
            changes = []
        elif divided is not None:
            changes = [one for one in changes if destination_of(one, divided.division) == divided.name]
        self.chunk = chunk
        #: Where its lane goes with it.
        self.move = LaneMove(
            chunk.source,
            chunk.lane,
            position,
            chunk.end,
            message,
            chunk.committed_at,
            chunk.division,
            stream,
        )
        self.changes: list[Values] = changes
        #: The chain in which they are sealed, if it is open.
        self.chain = sealing.chain_of_lane(chunk.source, chunk.lane)
        self.letters = [letter for place, letter in chunk.letters if place >= position]
        self.omissions = [omissions for place, omissions in chunk.omissions if place >= position]
