"""How far the log has come in each lane of a queue, over connections to the destination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bemi_django.exceptions import Superseded
from bemi_django.wire.lane import LanePosition
from bemi_django.wire.lsn import format_lsn
from bemi_django.wire.sequence import HistoryStart, lsn_of, sequence_at

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
_ADVANCE = """
UPDATE _bemi.lanes SET sequence = %s, ordinal = %s, message = %s, stream = %s, division = %s,
    committed_at = greatest(committed_at, %s), updated_at = clock_timestamp()
WHERE slot = %s AND lane = %s AND sequence = %s AND ordinal = %s AND NOT EXISTS (
    SELECT FROM _bemi.histories later
    WHERE later.slot = lanes.slot AND later.number > %s::bigint >> 51 AND later.start_lsn < %s::pg_lsn)
RETURNING lane
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
_MOVE_CHECKPOINT = """
UPDATE _bemi.checkpoint SET lsn = %s::pg_lsn, updated_at = clock_timestamp(), trouble = NULL,
    committed_at = coalesce(timestamptz '2000-01-01 00:00:00+00' + %s * interval '1 us', committed_at)
WHERE slot = %s AND lsn < %s::pg_lsn
    AND %s::bigint >> 51 = (
        SELECT coalesce(max(h.number), 0) FROM _bemi.histories h WHERE h.slot = checkpoint.slot)
"""
# In the middle of a transaction, only those before it are in the log.
_SLOWEST = """
SELECT sequence - (ordinal > 0)::integer, committed_at FROM _bemi.lanes
WHERE slot = %s ORDER BY sequence, ordinal LIMIT 1
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


def advance(
    cursor: Any,
    slot: str,
    lane: int,
    old: LanePosition,
    new: LanePosition,
    message: int,
    at: int | None,
    division: str = "",
    stream: str = "",
) -> None:
    """Move a lane, in the transaction that writes its changes.

    Args:
        cursor: A cursor of the destination.
        slot: The name of the slot.
        lane: The number of the lane.
        old: Where it has to be.
        new: Where it goes.
        message: The number of the last message, as the queue counts.
        at: The commit time of the last change of all lanes, in microseconds since 2000-01-01 UTC, if known.
        division: The fingerprint of how changes were divided when the message was published.
        stream: The identity of the stream of the message.

    Raises:
        Superseded: Another consumer has moved it; two must never write the same changes. Or these are of
            WAL that a later history has left.
    """
    # In the middle of a transaction, the sequence number is where it commits.
    end = format_lsn(lsn_of(new.sequence) + (new.ordinal > 0))
    cursor.execute(_ADVANCE, [*new, message, stream, division, at, slot, lane, *old, new.sequence, end])
    if cursor.fetchone() is None:
        raise Superseded


def move_checkpoint(cursor: Any, slot: str) -> None:
    """Move the checkpoint to where all lanes are, in a transaction after the one that has moved a lane."""
    cursor.execute(_SLOWEST, [slot])
    found = cursor.fetchone()
    if found is not None:
        sequence, committed_at = found
        lsn = format_lsn(lsn_of(sequence))
        cursor.execute(_MOVE_CHECKPOINT, [lsn, committed_at, slot, lsn, sequence])
