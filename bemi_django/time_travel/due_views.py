"""Make the views of the past of tables that are new: nobody needs them before somebody looks at the past."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError

from bemi_django.exceptions import HistoryError, LogBehind, first_line, sqlstate_of
from bemi_django.time_travel import snapshots
from bemi_django.time_travel.snapshots import Snapshot

_ARE_DUE = "SELECT EXISTS (SELECT FROM _bemi.past WHERE is_due)"
_MAKE = "SELECT _bemi.past_make_v1(%s)"
# How many to make in a transaction, which holds locks that DDL would have to wait for.
_MOST = 50
_LOCK_NOT_AVAILABLE = "55P03"


def are_due(cursor: Any) -> bool:
    """Return whether views have to be made before the past can be read in the transaction's snapshot."""
    cursor.execute(_ARE_DUE)
    return bool(cursor.fetchone()[0])


def make(snapshot: Snapshot, cursor: Any, using: str) -> None:
    """Make the views that are due, on connections of their own. A standby asks the primary.

    Args:
        snapshot: The snapshot of the transaction, which does not see them: take another one afterwards.
        cursor: A cursor of the transaction.
        using: The alias of its database.

    Raises:
        HistoryError: They cannot be made.
        LogBehind: Another transaction is making views.
    """
    aliases = snapshots.primaries(cursor, using) if snapshot.is_standby else [using]
    reason = "a standby cannot make them"
    for alias in aliases:
        try:
            _make_at(alias)
            return
        except DatabaseError as error:
            if sqlstate_of(error) == _LOCK_NOT_AVAILABLE:
                raise LogBehind(
                    "another transaction is altering tables and making views of the past: try again later"
                ) from error
            reason = first_line(error)
    raise HistoryError(
        f"new tables have no view of the past yet ({reason}): run 'manage.py bemi sync' on the primary, or "
        "what 'manage.py bemi grants' prints"
    )


def _make_at(alias: str) -> None:
    with snapshots.another(alias) as connection:
        connection.set_autocommit(False)
        made = _MOST
        while made >= _MOST:
            with connection.cursor() as cursor:
                # Whoever may only read is in a transaction of this kind by default.
                cursor.execute("SET TRANSACTION READ WRITE")
                cursor.execute(_MAKE, [_MOST])
                made = cursor.fetchone()[0]
            connection.commit()
