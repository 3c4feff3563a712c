"""How far the log has come in each lane of a queue, over connections to the destination."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bemi_django.exceptions import Superseded
from bemi_django.wire.lane import LanePosition
from bemi_django.wire.lsn import format_lsn
from bemi_django.wire.sequence import HistoryStart, history_of, lsn_of, sequence_at

_READ = """
SELECT lane, sequence, ordinal, message, division, stream FROM _bemi.lanes WHERE slot = %s ORDER BY lane
"""
_HOLD = "SELECT lane, sequence, ordinal FROM _bemi.lanes WHERE slot = %s ORDER BY lane FOR UPDATE"
_DELETE = "DELETE FROM _bemi.lanes WHERE slot = %s"
_BEGIN = """
INSERT INTO _bemi.lanes (slot, lane, sequence) SELECT %s, lane, %s FROM generate_series(0, %s - 1) lane
"""
_ADD = """
INSERT INTO _bemi.lanes (slot, lane, sequence, ordinal, message, stream) VALUES (%s, %s, %s, %s, %s, %s)
"""
# Which messages come after that, their positions tell: a stream may have been made again.
_RAISE = """
UPDATE _bemi.lanes SET sequence = %s, ordinal = 0, message = 0, updated_at = clock_timestamp()
WHERE slot = %s AND sequence < %s
"""
_MOVE = """
UPDATE _bemi.lanes SET sequence = %s, ordinal = %s, message = 0, updated_at = clock_timestamp()
WHERE slot = %s AND lane = %s
"""
# Locked in one order: two consumers must not wait for each other.
_ADVANCE = """
WITH held AS (
    SELECT m.* FROM unnest(
        %s::text[], %s::integer[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
        %s::bigint[], %s::text[], %s::text[], %s::pg_lsn[]
    ) m (slot, lane, old_sequence, old_ordinal, sequence, ordinal, message, at, division, stream, wal_end)
    JOIN _bemi.lanes l ON l.slot = m.slot AND l.lane = m.lane
    ORDER BY m.slot, m.lane FOR UPDATE OF l
)
UPDATE _bemi.lanes l SET sequence = h.sequence, ordinal = h.ordinal, message = h.message, stream = h.stream,
    division = h.division, committed_at = greatest(l.committed_at, h.at), updated_at = clock_timestamp()
FROM held h
WHERE l.slot = h.slot AND l.lane = h.lane AND l.sequence = h.old_sequence AND l.ordinal = h.old_ordinal
    AND NOT EXISTS (
        SELECT FROM _bemi.histories later
        WHERE later.slot = h.slot AND later.number > h.sequence >> 51 AND later.start_lsn < h.wal_end)
"""
# One that is divided in another way begins anew: its changes are in other messages.
_CLAIM = """
UPDATE _bemi.lanes SET destination = %s || ' ' || %s
WHERE slot = %s AND NOT starts_with(destination, %s || ' ')
"""
_CLAIMED = """
SELECT substr(destination, length(%s) + 2) FROM _bemi.lanes
WHERE slot = %s AND destination <> %s || ' ' || %s LIMIT 1
"""
# In the middle of a transaction, only those before it are in the log.
_MOVE_CHECKPOINT = """
UPDATE _bemi.checkpoint k SET lsn = slowest.lsn, updated_at = clock_timestamp(), trouble = NULL,
    committed_at = coalesce(
        timestamptz '2000-01-01 00:00:00+00' + slowest.committed_at * interval '1 us', k.committed_at)
FROM (
    SELECT '0/0'::pg_lsn + (complete & 2251799813685247) AS lsn, complete >> 51 AS history, committed_at
    FROM (
        SELECT sequence - (ordinal > 0)::integer AS complete, committed_at FROM _bemi.lanes
        WHERE slot = %s ORDER BY sequence, ordinal LIMIT 1) l) slowest
WHERE k.slot = %s AND k.lsn < slowest.lsn
    AND slowest.history = (SELECT coalesce(max(h.number), 0) FROM _bemi.histories h WHERE h.slot = k.slot)
"""


class LaneState(NamedTuple):
    """How far a lane has come, and the number of the last message that was written, as the queue counts.

    ``division`` is the fingerprint of how its changes are divided among several destinations, ``stream`` the
    identity of the stream whose number that is.
    """

    position: LanePosition
    message: int
    division: str = ""
    stream: str = ""


class LaneMove(NamedTuple):
    """Where a lane goes with what is written of it.

    Attributes:
        slot: The name of the slot.
        lane: The number of the lane.
        old: Where it has to be.
        new: Where it goes.
        message: The number of the last message, as the queue counts.
        at: The commit time of the last change of all lanes, in microseconds since 2000-01-01 UTC, if known.
        division: The fingerprint of how changes were divided when the message was published.
        stream: The identity of the stream of the message.
    """

    slot: str
    lane: int
    old: LanePosition
    new: LanePosition
    message: int
    at: int | None
    division: str = ""
    stream: str = ""

    def is_joined_by(self, later: LaneMove) -> bool:
        """Return whether another move begins where this one ends, on the same WAL."""
        return later.old == self.new and history_of(later.new.sequence) == history_of(self.new.sequence)

    def joined(self, later: LaneMove) -> LaneMove:
        """Return this move and the one after it as one."""
        moments = [at for at in (self.at, later.at) if at is not None]
        return later._replace(old=self.old, at=max(moments, default=None))


def read(cursor: Any, slot: str) -> dict[int, LaneState]:
    """Return the lanes of a slot; there are none if it was never read into a queue."""
    cursor.execute(_READ, [slot])
    return {
        lane: LaneState(LanePosition(sequence, ordinal), message, division, stream)
        for lane, sequence, ordinal, message, division, stream in cursor.fetchall()
    }


def hold(cursor: Any, slot: str) -> dict[int, LanePosition]:
    """Return where the lanes of a slot are, and keep them there until the end of the transaction."""
    cursor.execute(_HOLD, [slot])
    return {lane: LanePosition(sequence, ordinal) for lane, sequence, ordinal in cursor.fetchall()}


def may_read(cursor: Any) -> bool:
    """Return whether the role may read lanes; without a queue, it need not."""
    cursor.execute("SELECT has_table_privilege('_bemi.lanes', 'SELECT')")
    return bool(cursor.fetchone()[0])


def are_ahead(lanes: Mapping[int, LaneState], sequence: int) -> bool:
    """Return whether one of the lanes has come further than to a sequence number."""
    return any(state.position > LanePosition(sequence) for state in lanes.values())


def begin(
    cursor: Any, slot: str, number: int, lsn: int, histories: Sequence[HistoryStart], *, is_queued: bool
) -> None:
    """Let lanes begin where the log has come to, if they are not there already.

    Args:
        cursor: A cursor of the destination.
        slot: The name of the slot.
        number: The number of lanes that is wanted.
        lsn: Where the log ends, in bytes.
        histories: The histories of the log.
        is_queued: Whether the queue has messages of the slot.
    """
    found = read(cursor, slot)
    sequence = sequence_at(histories, lsn)
    # With another number, changes of a row would be in two lanes: only where all lanes are at the same place,
    # and no message is left that was divided in another way.
    is_even = not is_queued and not are_ahead(found, sequence)
    if not found or len(found) != number and is_even:
        cursor.execute(_DELETE, [slot])
        cursor.execute(_BEGIN, [slot, sequence, number])
    cursor.execute(_RAISE, [sequence, slot, sequence])


def claim(cursor: Any, slot: str, division: str, name: str) -> str:
    """Let the lanes of a slot be written as one of several destinations.

    Args:
        cursor: A cursor of the destination.
        slot: The name of the slot.
        division: The fingerprint of how changes are divided.
        name: The name of the destination.

    Returns:
        The name of another destination as which they are written already; empty if there is none.
    """
    cursor.execute(_CLAIM, [division, name, slot, division])
    cursor.execute(_CLAIMED, [division, slot, division, name])
    found = cursor.fetchone()
    return str(found[0]) if found else ""


def add(
    cursor: Any, slot: str, lane: int, position: LanePosition, message: int = 0, stream: str = ""
) -> None:
    """Let a lane begin after a message, where a stream of the queue has it."""
    cursor.execute(_ADD, [slot, lane, *position, message, stream])


def move(cursor: Any, slot: str, lane: int, position: LanePosition) -> None:
    """Move a lane, which :func:`hold` keeps, past changes that are not in any message."""
    cursor.execute(_MOVE, [*position, slot, lane])


def divide_anew(cursor: Any, slot: str, number: int, position: LanePosition) -> None:
    """Let another number of lanes go on where all lanes are."""
    cursor.execute(_DELETE, [slot])
    for lane in range(number):
        add(cursor, slot, lane, position)


def advance(cursor: Any, moves: Iterable[LaneMove]) -> None:
    """Move lanes, in the transaction that writes their changes.

    Args:
        cursor: A cursor of the destination.
        moves: Where they go; those of one lane in their order.

    Raises:
        Superseded: Another consumer has moved one; two must never write the same changes. Or these are of
            WAL that a later history has left.
    """
    joined: dict[tuple[str, int], LaneMove] = {}
    for move in moves:
        before = joined.get(key := (move.slot, move.lane))
        if before is not None and not before.is_joined_by(move):
            _advance(cursor, list(joined.values()))
            before, joined = None, {}
        joined[key] = move if before is None else before.joined(move)
    _advance(cursor, list(joined.values()))


def _advance(cursor: Any, moves: Sequence[LaneMove]) -> None:
    # In the middle of a transaction, the sequence number is where it commits.
    ends = [format_lsn(lsn_of(move.new.sequence) + (move.new.ordinal > 0)) for move in moves]
    rows = [(*move[:2], *move.old, *move.new, *move[4:], end) for move, end in zip(moves, ends, strict=True)]
    cursor.execute(_ADVANCE, [list(column) for column in zip(*rows, strict=True)])
    if cursor.rowcount != len(moves):
        raise Superseded


def move_checkpoint(cursor: Any, slot: str) -> None:
    """Move the checkpoint to where all lanes are, in a transaction after the one that has moved a lane."""
    cursor.execute(_MOVE_CHECKPOINT, [slot, slot])
