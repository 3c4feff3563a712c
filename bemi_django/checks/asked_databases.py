"""The checks that ``--database`` asks for, also where a database cannot be asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Warning, register
from django.db import DatabaseError

from bemi_django.checks.databases import check_databases
from bemi_django.exceptions import first_line


@register("database")
def check_asked_databases(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Check the servers and tables of databases, and report those that cannot be checked.

    Args:
        databases: Aliases given with ``--database``.
        kwargs: What Django passes to every check.

    Returns:
        The warnings found.
    """
    aliases = list(databases or ())
    try:
        return check_databases(aliases)
    except DatabaseError:
        return [message for alias in aliases for message in _of_one(alias)]


def _of_one(alias: str) -> list[CheckMessage]:
    try:
        return check_databases([alias])
    except DatabaseError as error:
        message = f"{alias!r} cannot be checked: {first_line(error)}"
        hint = "Run this where its server can be reached, as the owner of the schema _bemi."
        return [Warning(message, hint=hint, id="bemi.W022")]
