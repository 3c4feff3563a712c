"""Who runs a command in a shell, for the context of what the command writes."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from typing import Any

from django.db import connections

from bemi_django.capture.context import bound_context
from bemi_django.events.recording import emit


def operator_context(
    command: str, arguments: Mapping[str, Any], database: str, reason: str | None
) -> dict[str, Any]:
    """Return the context of a write that a person makes with a command.

    Args:
        command: The command, such as ``bemi revert``.
        arguments: The arguments that say what the command does.
        database: Alias of the database it writes to.
        reason: Why, in the person's words.

    Returns:
        ``command``, ``arguments``, ``os_user`` (and ``sudo_user``), ``database_role`` and ``reason``, as far
        as they are known.
    """
    with connections[database].cursor() as cursor:
        cursor.execute("SELECT session_user::pg_catalog.text")
        (role,) = cursor.fetchone()
    found = {
        "command": command,
        "arguments": dict(arguments),
        "os_user": _os_user(),
        "sudo_user": os.environ.get("SUDO_USER"),
        "database_role": role,
        "reason": reason,
    }
    return {key: value for key, value in found.items() if value}


def record_command(
    event: str,
    details: Mapping[str, Any],
    command: str,
    arguments: Mapping[str, Any],
    database: str,
    reason: str | None = None,
) -> None:
    """Record in the log of a source what somebody has done with a command, and who.

    Args:
        event: What was done.
        details: What else is known of it.
        command: See :func:`operator_context`, also for the rest.
        arguments: The arguments.
        database: Alias of the source.
        reason: Why.
    """
    with bound_context(**operator_context(command, arguments, database, reason)):
        emit(event, details=details, using=database, outlives_rollback=True)


def _os_user() -> str:
    # Not from the environment, which anybody can set.
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except ImportError:
        return getpass.getuser()
    except KeyError:
        return str(os.getuid())
