"""The checks that ``--database`` asks for, also where a database cannot be asked."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from django.core.checks import CheckMessage, Warning, register
from django.db import DatabaseError

from bemi_django.checks.databases import check_databases
from bemi_django.checks.types import check_types
from bemi_django.status.refused_databases import explained
from bemi_django.status.time_limits import is_given_up, time_limits


@register("database")
def check_asked_databases(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Check the servers and tables of databases, and report those that cannot be checked.

    Args:
        databases: Aliases given with ``--database``.
        kwargs: What Django passes to every check.

    Returns:
        The warnings found.
    """
    if check_types():
        # The check of the settings says so.
        return []
    aliases = list(databases or ())
    try:
        with ExitStack() as limited:
            for alias in aliases:
                limited.enter_context(time_limits(alias, "5min"))
            return check_databases(aliases)
    except (DatabaseError, UnicodeDecodeError):
        return [message for alias in aliases for message in _of_one(alias)]


def _of_one(alias: str) -> list[CheckMessage]:
    try:
        with time_limits(alias, "5min"):
            return check_databases([alias])
    # psycopg2 cannot read what some servers say.
    except (DatabaseError, UnicodeDecodeError) as error:
        message = f"{alias!r} cannot be checked: {explained(error, [alias])}"
        hint = "Run this where its server can be reached, as the owner of the schema _bemi."
        if is_given_up(error):
            hint = "Another session holds a lock (see pg_locks): run this again when it has ended."
        return [Warning(message, hint=hint, id="bemi.W022")]
