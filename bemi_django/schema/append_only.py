"""A log whose rows stay as they are: the trigger of ``BEMI_APPEND_ONLY``, and permits for our commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings

from bemi_django.schema import installed
from bemi_django.schema.locking import briefly
from bemi_django.schema.search_path import closed_cursor

#: What makes the log append-only, as its owner.
PROTECT = "SELECT _bemi.append_only_v1(true);"
#: What ends that.
UNPROTECT = "SELECT _bemi.append_only_v1(false)"

_STATE = """
SELECT (SELECT count(*) FROM pg_trigger g WHERE g.tgfoid = '_bemi.refuse_change_v1()'::regprocedure),
       (SELECT count(*) FROM _bemi.changeable_v1()),
       (SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class c WHERE c.oid = _bemi.log_v1())
"""
_APPLY = "SELECT _bemi.append_only_v1(%s)"
_PERMIT = "SELECT _bemi.permit_v1(%s)"
_END = "SELECT _bemi.end_permit_v1()"


def is_wanted() -> bool:
    """Return ``BEMI_APPEND_ONLY``: whether a trigger refuses to change rows of the log."""
    return bool(getattr(settings, "BEMI_APPEND_ONLY", False))


def sync(using: str, dry_run: bool) -> Iterator[str]:
    """Make the log append-only, or no longer, as the settings say, and yield a line for it.

    The worker waits meanwhile, readers do not. If another role owns the log, it is for that role to end it.

    Args:
        using: Alias of the database that holds the log.
        dry_run: Only say what would be done.

    Raises:
        DatabaseError: The log is locked, or belongs to another role.
    """
    wanted = is_wanted()
    with closed_cursor(using) as cursor:
        if not installed.has(cursor, "append_only_v1") or not installed.has(cursor, "partition_v1"):
            return
        cursor.execute(_STATE)
        protected, changeable, is_owner = cursor.fetchone()
    if changeable == 0 if wanted else protected == 0 or not is_owner:
        return
    if not dry_run:
        briefly(using, lambda cursor: cursor.execute(_APPLY, [wanted]))
    yield "append-only: the log" if wanted else "no longer append-only: the log"


@contextmanager
def permitted(cursor: Any, purpose: str) -> Iterator[None]:
    """Let a block change rows of the log in an open transaction, as the owner of the log.

    If the block fails, the transaction or savepoint must be rolled back, and the permit with it.

    Args:
        cursor: A cursor of the database of the log, of any driver.
        purpose: What changes them.
    """
    cursor.execute(_PERMIT, [purpose])
    yield
    cursor.execute(_END)
