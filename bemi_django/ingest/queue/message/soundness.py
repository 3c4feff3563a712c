"""Whether messages are chunks, and what is kept of those that are none: who may publish can send anything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

import orjson

from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.rows.row_writer import COLUMNS
from bemi_django.wire.defaults import LARGEST_DEAD_LETTER
from bemi_django.wire.lane import LanePosition
from bemi_django.wire.sequence import lsn_of

_NUMBERS = frozenset(
    COLUMNS.index(name) for name in ("committed_at", "queued_at", "transaction_id", "position")
)
_REQUIRED = frozenset(
    COLUMNS.index(name)
    for name in ("id", "database", "schema", "table", "operation", "before", "after", "context")
)
_COMMITTED_AT = COLUMNS.index("committed_at")
#: Moments are of years that Python knows, 1 to 9999, in microseconds since 2000-01-01 UTC.
_FIRST_MOMENT, _LAST_MOMENT = -63_000_000_000_000_000, 250_000_000_000_000_000
#: The number after the largest one of a column.
_BEYOND = 2**63
_OTHERS = [itemgetter(number) for number in sorted(_NUMBERS - {_COMMITTED_AT})]
_UNSIGNED = [itemgetter(COLUMNS.index(name)) for name in ("transaction_id", "position")]
#: Ids one after another: to make a UUID of each takes several times as long.
_IDS = re.compile("(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})*")
#: The same of timelines, of oids, of sources in ids, and of what a chunk has left out: sums are numbers, too.
BEYOND_TIMELINES, BEYOND_OIDS, BEYOND_SOURCES, BEYOND_COUNTS = 2**31, 2**32, 2**30, 2**40
#: Bytes of a text that is a part of a key: an index has a limit.
_MOST = 800

Value = TypeVar("Value")


class RejectedChunk(NamedTuple):
    """Messages that are no chunk: their numbers, what they hold, and why."""

    numbers: list[int]
    data: bytes
    reason: str

    def letter(self, position: LanePosition) -> RejectedMessage:
        """Return the dead letter of a lane that is at a position."""
        origin = {"messages": self.numbers}
        letter = RejectedMessage(lsn_of(position.sequence), None, self.data, origin, self.reason)
        return letter.limited(LARGEST_DEAD_LETTER)


def sound_position(sequence: int, ordinal: int) -> LanePosition:
    """Return a position of two numbers.

    Raises:
        TypeError: They are none.
    """
    return LanePosition(sound_number(sequence), sound_number(ordinal))


def sound(kind: type[Value], value: object) -> Value:
    """Return a value of a kind.

    Raises:
        TypeError: It is one of another.
    """
    if type(value) is not kind:
        raise TypeError
    return value


def sound_text(value: object, most: int = 0) -> str:
    """Return a text that a column takes, of at most so many bytes if there is a limit.

    Raises:
        TypeError, ValueError: It is none.
    """
    text = sound(str, value)
    if "\0" in text or most and len(text.encode()) > most:
        raise ValueError
    return text


def sound_name(value: object) -> str:
    """Return a text that an index takes beside others.

    Raises:
        TypeError, ValueError: It is none.
    """
    return sound_text(value, _MOST)


def sound_object(value: object) -> dict[str, Any]:
    """Return an object that a column of type jsonb takes.

    Raises:
        TypeError, ValueError: It is none.
    """
    found = sound(dict, value)
    # A backslash is written as two.
    if b"\\u0000" in orjson.dumps(found).replace(rb"\\", b""):
        raise ValueError
    return found


def sound_number(value: object, beyond: int = _BEYOND) -> int:
    """Return a number that is not negative, and that a column takes.

    Raises:
        TypeError, ValueError: It is none.
    """
    number = sound(int, value)
    if not 0 <= number < beyond:
        raise ValueError
    return number


def sound_moment(value: object) -> int:
    """Return a time, in microseconds since 2000-01-01 UTC.

    Raises:
        TypeError, ValueError: It is none.
    """
    moment = sound(int, value)
    if not _FIRST_MOMENT <= moment < _LAST_MOMENT:
        raise ValueError
    return moment


def are_changes(changes: Sequence[Any]) -> bool:
    """Return whether all of them have the values of a change.

    Raises:
        TypeError, ValueError: They have not.
    """
    # Most have one of a few patterns of types: to look at each value would take several times as long.
    patterns = {tuple(map(type, values)) for values in changes}
    identifiers = [values[0] for values in changes] if all(map(_is_pattern, patterns)) else [""]
    if not all(len(identifier) == 36 for identifier in identifiers):
        return False
    moments = [values[_COMMITTED_AT] for values in changes]
    return (
        _IDS.fullmatch("".join(identifiers)) is not None
        and min(moments, default=0) >= _FIRST_MOMENT
        and max(moments, default=0) < _LAST_MOMENT
        and all(min(map(number, changes), default=0) >= 0 for number in _UNSIGNED)
        and all(max(map(number, changes), default=0) < _BEYOND for number in _OTHERS)
    )


def _is_pattern(types: tuple[type, ...]) -> bool:
    return len(types) == len(COLUMNS) and all(map(_may_be, range(len(COLUMNS)), types))


def _may_be(number: int, found: type) -> bool:
    if number in _NUMBERS:
        return found is int
    return found is str or found is type(None) and number not in _REQUIRED
