"""Bring the log in line with the settings."""

from __future__ import annotations

from collections.abc import Callable

from django.db import DatabaseError, connections

from bemi_django.exceptions import first_line, sqlstate_of
from bemi_django.schema import append_only
from bemi_django.schema.log_settings import indexes
from bemi_django.schema.outcome import Outcome

_INSUFFICIENT_PRIVILEGE = "42501"
_OF_ANOTHER = "; run 'manage.py bemi sync' as the owner of the log"


def sync_log(
    using: str, *, dry_run: bool = False, report: Callable[[str], object] = lambda line: None
) -> Outcome:
    """Bring the log in line with the settings: its indexes, and whether its rows may be changed.

    Args:
        using: The alias of the database of the log.
        dry_run: Only say what would be done.
        report: Called with each line as soon as it is done.

    Returns:
        What was done and what failed.

    Raises:
        DatabaseError: The database refuses connections.
    """
    outcome = Outcome([], [])
    for what, steps in (("indexes of the log", indexes.sync), ("BEMI_APPEND_ONLY", append_only.sync)):
        try:
            for line in steps(using, dry_run):
                outcome.done.append(line)
                report(line)
        except DatabaseError as error:
            if connections[using].connection is None:
                # It refuses connections, and would refuse the next one.
                raise
            remedy = _OF_ANOTHER if sqlstate_of(error) == _INSUFFICIENT_PRIVILEGE else ""
            outcome.failed.append(f"{what}: {first_line(error)}{remedy}")
    return outcome
