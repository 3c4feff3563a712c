"""Who runs a command in a shell, for the context of what the command writes, and for the log itself."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connections

from bemi_django.capture.context import bound_context
from bemi_django.events.recording import Row, emit

#: What a sync has done, of which the log gets so many lines.
_MOST_LINES = 100
#: What ``sync`` says of a table that is not tracked any more.
_ENDED = "no triggers: "


def operator_context(
    command: str | None, arguments: Mapping[str, Any], database: str, reason: str | None
) -> dict[str, Any]:
    """Return the context of a write that a person makes with a command.

    Args:
        command: The command, such as ``bemi revert``; None where the present context names it.
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
    command: str | None,
    arguments: Mapping[str, Any],
    database: str,
    reason: str | None = None,
    of: Row | None = None,
) -> None:
    """Record in the log of a source what somebody has done with a command, and who.

    Args:
        event: What was done.
        details: What else is known of it.
        command: See :func:`operator_context`, also for the rest.
        arguments: The arguments.
        database: Alias of the source.
        reason: Why.
        of: The object, or the row, that it was done to.
    """
    with bound_context(**operator_context(command, arguments, database, reason)):
        emit(event, of, details, using=database, outlives_rollback=True)


def record_sync(lines: Sequence[str], command: str | None, database: str, reason: str | None = None) -> None:
    """Record who has brought a source in line with the settings, if anything was done.

    Args:
        lines: What was done, as ``sync`` reports it.
        command: See :func:`operator_context`, also for the rest.
        database: Alias of the source.
        reason: Why.
    """
    ended = [line.removeprefix(_ENDED) for line in lines if line.startswith(_ENDED)]
    if ended:
        record_command("ended_tracking", {"tables": ended}, command, {}, database, reason)
    # Each table that is not tracked any more has several lines.
    done = [line for line in lines if line.partition(": ")[2] not in ended]
    if done:
        more = {"more": len(done) - _MOST_LINES} if len(done) > _MOST_LINES else {}
        record_command("synced", {"done": done[:_MOST_LINES], **more}, command, {}, database, reason)


def _os_user() -> str:
    # Not from the environment, which anybody can set.
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except ImportError:
        return getpass.getuser()
    except KeyError:
        return str(os.getuid())
