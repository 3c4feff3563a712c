"""Whether messages are chunks, and what is kept of those that are none: who may publish can send anything."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.rows.row_writer import COLUMNS
from bemi_django.wire.defaults import LARGEST_DEAD_LETTER
from bemi_django.wire.lane import LanePosition
from bemi_django.wire.sequence import lsn_of

_NUMBERS = frozenset(
    COLUMNS.index(name) for name in ("committed_at", "queued_at", "transaction_id", "position")
)
_REQUIRED = frozenset(COLUMNS.index(name) for name in ("id", "context"))
_COMMITTED_AT = COLUMNS.index("committed_at")
#: No number is as large: in microseconds since 2000-01-01 UTC, the year after the last one that Python knows.
_TOO_LARGE = 250_000_000_000_000_000
#: The number after the largest one of a column.
_BEYOND = 2**63
_OTHERS = [itemgetter(number) for number in sorted(_NUMBERS - {_COMMITTED_AT})]

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


def sound_number(value: object) -> int:
    """Return a number that is not negative, and that a column takes.

    Raises:
        TypeError, ValueError: It is none.
    """
    number = sound(int, value)
    if not 0 <= number < _BEYOND:
        raise ValueError
    return number


def sound_moment(value: object) -> int:
    """Return a time, in microseconds since 2000-01-01 UTC.

    Raises:
        TypeError, ValueError: It is none.
    """
    moment = sound(int, value)
    if abs(moment) >= _TOO_LARGE:
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
    digits = "".join(identifiers).replace("-", "")
    moments = [abs(values[_COMMITTED_AT]) for values in changes]
    return (
        len(bytes.fromhex(digits)) == 16 * len(changes)
        and max(moments, default=0) < _TOO_LARGE
        and all(max(map(number, changes), default=0) < _BEYOND for number in _OTHERS)
    )


def _is_pattern(types: tuple[type, ...]) -> bool:
    return len(types) == len(COLUMNS) and all(map(_may_be, range(len(COLUMNS)), types))


def _may_be(number: int, found: type) -> bool:
    if number in _NUMBERS:
        return found is int
    return found is str or found is type(None) and number not in _REQUIRED
