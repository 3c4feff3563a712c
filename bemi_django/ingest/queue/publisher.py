"""Publish rows to the lanes of a queue: the sink of ``bemi run --to nats://...``."""

from __future__ import annotations

import secrets

import orjson

from bemi_django.ingest.destination.batch import Outline, Pending
from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.queue.acknowledgements import Outgoing
from bemi_django.ingest.queue.broker import Broker
from bemi_django.ingest.queue.course.course import Course
from bemi_django.ingest.queue.lane_source import LaneSource
from bemi_django.ingest.queue.message.chunk import Chunk, encode
from bemi_django.ingest.queue.message.row_reader import RowReader
from bemi_django.ingest.queue.message.row_values import lane_of, position_of
from bemi_django.ingest.queue.outbox import Outbox, PublishedBatch, Waiting
from bemi_django.ingest.rows.large_rows import id_of
from bemi_django.ingest.selection.omissions import Omissions
from bemi_django.wire.defaults import LARGEST_DEAD_LETTER
from bemi_django.wire.lane import LanePosition
from bemi_django.wire.sequence import sequence_at

#: Bytes that are gathered before they are published.
_LIMIT = 1024 * 1024

_NOBODY = Waiting()


class QueueSink:
    """Gathers rows by lane and publishes them; the position of each lane goes with its changes.

    All lanes are cut at the same positions, those without changes too: so each tells how far the source was
    read. A change that belongs to no lane stands between all others: it goes into the first lane, which
    waits for the others there, and they wait for it.

    Args:
        broker: The connection to the queue; closed with the sink.
        source: What is published.
        checkpoint: Where the stream of the source begins, in bytes.
        outline: Writes a row whose values are not text.
        largest_letter: Bytes of the largest message that is kept whole as a dead letter.
        waiting: What is called while the queue is waited for.
        omissions: What was left out of the open transaction; it is emptied when the transaction ends.
    """

    def __init__(
        self,
        broker: Broker,
        source: LaneSource,
        checkpoint: int,
        outline: Outline,
        largest_letter: int = LARGEST_DEAD_LETTER,
        waiting: Waiting = _NOBODY,
        omissions: Omissions | None = None,
    ) -> None:
        self._broker = broker
        self._source, self._lanes = source, source.lanes
        self._reader = RowReader(outline)
        self._largest_letter = largest_letter
        self._omissions = Omissions() if omissions is None else omissions
        #: Parts of one chunk must not be mixed with those of an earlier attempt.
        self._session = secrets.token_hex(8)
        self._end = self.checkpoint = checkpoint
        # What the session before has published last, may wait for the first lane.
        self._begin = self._boundary
        self._after: LanePosition | None = self._begin
        #: The id of the last row: no row is at the position of the first one.
        self._last_id = bytes(16)
        self._rows: list[list[bytes]] = [[] for _ in range(source.lanes)]
        self._letters: list[tuple[LanePosition, RejectedMessage]] = []
        self._left_out: list[tuple[LanePosition, Omissions]] = []
        self._size, self._is_barrier = 0, False
        self._committed_at: int | None = None
        self._outbox = Outbox(broker, waiting)
        self.fileno = self._outbox.fileno
        self.has_pending = False
        self.committed_at = self.written = self.kept = 0
        self._taken = self._taken_letters = 0

    def tell(self, course: Course) -> None:
        """Publish how the log has come here before anything else, for destinations that have to follow it.

        Raises:
            QueueUnavailable: As :meth:`settle`.
        """
        source, at = self._source, self._begin
        told = Chunk(
            source.name, 0, at, at, None, None, [], [], [], source.lanes, source.origin, course=course
        )
        subjects = [self._broker.address.subject(source.name, lane) for lane in range(source.lanes)]
        messages = [
            Outgoing(
                subject,
                f"{subject}.course.{self._session}",
                encode(told._replace(lane=lane), []),
                at,
                division=source.division,
            )
            for lane, subject in enumerate(subjects)
        ]
        self._outbox.publish(messages, PublishedBatch(0, 0, None, None))
        self.settle()

    def add(self, pending: Pending) -> None:
        """Take one row of the open transaction."""
        values, letter = self._reader.read(pending)
        if letter is not None:
            self.add_letter(letter)
        identifier = id_of(pending.row)
        lane = lane_of(values, self._lanes)
        is_barrier = lane is None
        if self._size >= _LIMIT or self._size and self._is_barrier is not is_barrier:
            position = position_of(identifier)
            # A transaction begins where the one before has ended.
            self._cut(position if position.ordinal else self._boundary)
        self._is_barrier = is_barrier
        self._last_id = identifier
        line = orjson.dumps(values)
        self._rows[lane or 0].append(line)
        self._size += len(line)

    def add_letter(self, letter: RejectedMessage) -> None:
        """Take a dead letter of the open transaction."""
        kept = letter.limited(self._largest_letter)
        # The same in every attempt, wherever chunks are cut.
        self._letters.append((max(position_of(self._last_id), self._boundary), kept))
        self._size += len(kept.message)

    def end(self, lsn: int, committed_at: int, transaction: int = 0, is_notable: bool = False) -> None:
        """Complete the open transaction; see :class:`bemi_django.ingest.pipeline.Sink`."""
        self._end = max(self._end, lsn)
        if self._omissions:
            left_out = Omissions()
            left_out.take_over(self._omissions)
            self._left_out.append((LanePosition(self._boundary.sequence - 1), left_out))
        if committed_at and (self._size or self._is_partly_sent):
            self._committed_at = committed_at
        self.has_pending |= is_notable or bool(self._size or self._left_out) or self._is_partly_sent

    @property
    def _boundary(self) -> LanePosition:
        """Where the transaction before the open one has ended."""
        return LanePosition(sequence_at(self._source.histories, self._end))

    @property
    def _is_partly_sent(self) -> bool:
        return self._begin.ordinal > 0

    @property
    def is_full(self) -> bool:
        """Whether the complete transactions should be sent now."""
        return self._size >= _LIMIT

    @property
    def in_flight(self) -> int:
        """The number of batches on their way."""
        return self._outbox.in_flight

    def send(self) -> None:
        """Begin to publish complete transactions.

        Raises:
            QueueUnavailable: As :meth:`settle`.
        """
        if self.has_pending:
            self.has_pending = False
            self._cut(self._boundary, self._end)

    def finish(self) -> None:
        """Begin to make durable what waits for more: nothing does."""

    def settle(self, in_flight: int = 0) -> None:
        """Wait until at most ``in_flight`` batches are on their way.

        Raises:
            QueueUnavailable: The queue has refused a message, or does not answer.
        """
        while self._outbox.in_flight > in_flight:
            batch = self._outbox.settle()
            self._taken += batch.rows
            self._taken_letters += batch.letters
            if batch.end is not None:
                self.checkpoint = batch.end
                self.committed_at = batch.committed_at or self.committed_at
                self.written += self._taken
                self.kept += self._taken_letters
                self._taken = self._taken_letters = 0

    def keep_alive(self) -> None:
        """Notice that the queue has gone; call this often."""
        self._outbox.require_progress()

    def close(self) -> None:
        """Close the connection to the queue."""
        self._outbox.close()

    def _cut(self, position: LanePosition, end: int | None = None) -> None:
        """Publish what was gathered, as what comes before a position.

        Args:
            position: Where the chunks end.
            end: The same in bytes if all transactions before it are complete.
        """
        if position == self._begin:
            # Nothing can be before it.
            return
        messages = [
            message
            for lane in reversed(range(self._source.lanes))
            for message in self._messages(lane, position)
        ]
        batch = PublishedBatch(sum(map(len, self._rows)), len(self._letters), end, self._committed_at)
        if end is not None:
            self._source.named_since.clear()
        if self._is_barrier:
            self._after = position
        self._begin, self._is_barrier, self._size = position, False, 0
        self._rows = [[] for _ in range(self._source.lanes)]
        self._letters, self._left_out = [], []
        while self._outbox.is_full(messages):
            self.settle(self._outbox.in_flight - 1)
        self._outbox.publish(messages, batch)

    def _messages(self, lane: int, end: LanePosition) -> list[Outgoing]:
        source, begin = self._source, self._begin
        after = self._after if lane else begin if self._is_barrier else None
        letters, left_out = (self._letters, self._left_out) if lane == 0 else ([], [])
        known = source.origin, source.is_canonical, "", None, source.named_since
        at, moment = (source.name, lane, begin, end, after), self._committed_at
        chunk = Chunk(*at, moment, [], letters, left_out, source.lanes, *known)
        payload, largest = encode(chunk, self._rows[lane]), self._broker.largest
        subject, division = self._broker.address.subject(source.name, lane), source.division
        identifier = f"{subject}.{begin.sequence}.{begin.ordinal}-{end.sequence}.{end.ordinal}"
        if len(payload) <= largest:
            return [Outgoing(subject, identifier, payload, end, division=division)]
        parts = [payload[at : at + largest] for at in range(0, len(payload), largest)]
        return [
            Outgoing(
                subject,
                f"{identifier}.{self._session}.{number}",
                part,
                end,
                f"{number}/{len(parts)}",
                division,
            )
            for number, part in enumerate(parts, 1)
        ]
