"""Locate a moment in the log: a datetime, an LSN, a transaction id or a change."""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from typing import Any, NamedTuple

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from bemi_django.exceptions import HistoryError
from bemi_django.models import Change
from bemi_django.time_travel import late
from bemi_django.time_travel.snapshots import Snapshot
from bemi_django.wire.ids import sequence_in
from bemi_django.wire.lsn import format_lsn
from bemi_django.wire.sequence import MAX_LSN


class JustBefore(NamedTuple):
    """The moment just before the transaction that made a change."""

    change: Change


#: A datetime (naive: in the current time zone), an LSN (``16/B374D848``), a transaction id, or a change.
Moment = datetime | str | int | Change
#: A moment that ``as_of()`` accepts.
PastMoment = Moment | JustBefore

_OF_TRANSACTION = """
SELECT max(_bemi.sequence_v1(id)) FROM {log}
WHERE transaction_id = %s AND database = %s AND NOT diverged
"""
_OF_LSN = "SELECT _bemi.sequence_v1(%s::text, %s::pg_lsn)"
# The second column tells whether the log has nothing later.
_OF_TIME = """
SELECT _bemi.sequence_at_v1(%s), coalesce((
    SELECT committed_at <= %s FROM {log}
    WHERE database = %s AND operation NOT IN ('EVENT', 'ERASED')
    ORDER BY id DESC LIMIT 1
), true)
"""

_LSN = re.compile("([0-9a-fA-F]{1,8})/([0-9a-fA-F]{1,8})")
# Transaction ids are 64-bit integers.
_MOST_DIGITS = 20


class LogPosition(NamedTuple):
    """A position in the log, as a sequence number; commits up to it are included.

    ``time`` is set if the moment was given as a time; ``said`` is the moment in words.
    """

    position: int
    time: datetime | None
    said: str

    def is_before(self, position: int, time: datetime) -> bool:
        """Tell whether it is before an event, given by its sequence number and its time."""
        return self.position < position if self.time is None else self.time < time


def parse(text: str) -> Moment:
    """Return the moment that a person typed. Raises HistoryError if it is not one."""
    if text.isdecimal() and len(text) < _MOST_DIGITS:
        return int(text)
    try:
        found = parse_datetime(text)
        return found if found is not None else Change.objects.get(pk=uuid.UUID(text))
    except Change.DoesNotExist:
        raise HistoryError(f"there is no change {text} in the log") from None
    except ValueError:
        _lsn(text)
        return text


def with_usual_offset(time: datetime) -> datetime:
    """Return the same time with an offset that PostgreSQL takes: ISO 8601 has more of them."""
    try:
        return time.astimezone(timezone.get_fixed_timezone(0))
    except OverflowError:
        return time


def locate(cursor: Any, snapshot: Snapshot, moment: PastMoment) -> LogPosition:
    """Return the position of a moment, taking late changes into account.

    Raises:
        HistoryError: The log does not have the transaction, or the value is not a moment.
    """
    if isinstance(moment, JustBefore):
        # No commit can be between: positions are those of commits.
        found = _of_change(snapshot, moment.change)
        return LogPosition(found.position - 1, None, f"what was before {found.said}")
    if isinstance(moment, Change):
        return _of_change(snapshot, moment)
    if isinstance(moment, datetime):
        time = timezone.make_aware(moment) if timezone.is_naive(moment) else moment
        cursor.execute(_OF_TIME.format(log=snapshot.log), [*[with_usual_offset(time)] * 2, snapshot.database])
        position, is_end = cursor.fetchone()
        if is_end:
            position = late.position_at(snapshot.late, time, position)
        return LogPosition(position, time, time.isoformat())
    if isinstance(moment, int) and not isinstance(moment, bool):
        if not 0 <= moment < 2**63:
            raise HistoryError("the number is not a moment: a transaction id is a 64-bit integer")
        cursor.execute(_OF_TRANSACTION.format(log=snapshot.log), [moment, snapshot.database])
        (position,) = cursor.fetchone()
        known = [change.position for change in snapshot.late if change.transaction == moment]
        if (position := position or max(known, default=None)) is None:
            raise HistoryError(
                f"transaction {moment} is not in the log: it changed no tracked row, or is not written yet"
            )
        return LogPosition(position, None, f"transaction {moment}")
    if isinstance(moment, str):
        cursor.execute(_OF_LSN, [snapshot.slot, format_lsn(_lsn(moment))])
        (position,) = cursor.fetchone()
        return LogPosition(position, None, moment)
    raise HistoryError(f"{moment!r} is not a moment: pass a datetime, an LSN, a transaction id or a change")


def _of_change(snapshot: Snapshot, change: Change) -> LogPosition:
    if change.database != snapshot.database:
        raise HistoryError(
            f"the change {change.pk} was made in the database {change.database!r}: pass using=, its alias"
        )
    if change.diverged:
        raise HistoryError(f"the database lost the change {change.pk} in a failover")
    return LogPosition(sequence_in(change.pk.bytes), None, f"the change {change.pk}")


def _lsn(text: str) -> int:
    found = _LSN.fullmatch(text)
    if found and (lsn := int(found[1], 16) << 32 | int(found[2], 16)) <= MAX_LSN:
        return lsn
    raise HistoryError(
        f"{text!r} is not a moment: pass an ISO datetime, an LSN (16/B374D848), a transaction id or change id"
    )
