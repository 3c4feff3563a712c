"""Exceptions of this package.

BemiError
├── ArchiveError          a month cannot be archived or brought back, or a file of the archive is damaged
├── HistoryError          as_of(): the tables at that time are not known; it holds since when they are
│   ├── BeforeHistory     the log begins later
│   └── LogBehind         the log has not reached the present
├── KeyStoreUnavailable   the store of encryption keys has failed, or takes too long
├── NoModel               no model has the table of a change
├── NotInTransaction      apply_context() was called outside a transaction
├── NotInstalled          the database objects are missing: ``migrate`` was not run
├── ParametersUnavailable the parameters of a connection, such as a token, cannot be computed
├── PastIsReadOnly        a write inside as_of(), or of an instance read there
├── PlanChanged           a revert would do something else than was confirmed; it holds the plan
├── ProtocolError         bytes that do not follow the pgoutput protocol
├── Refused               a privilege, role, database or object is missing
├── RevertConflict        a revert would overwrite values or cannot be done; it holds the plan
├── UnknownDatabase       the changes' database is not in DATABASES
└── ReplicationError      the server cannot stream: wal_level, privileges or slot
    ├── IsStandby         the server is a standby
    ├── SlotInUse         another worker holds the slot
    ├── Superseded        another worker has written changes in the meantime
    ├── Disrupted         the publication or slot changed while streaming
    ├── SinkUnavailable   what changes are written to does not take them now
    │   └── QueueUnavailable  the queue does not take or give messages, or its consumers are behind
    │       └── QueueFull     the queue has no room
    ├── Unsendable        the server fails at a transaction
    └── LostHistory       the slot no longer has the changes that follow the log
"""

from __future__ import annotations

import traceback
from typing import Any

#: The method of Django's backends that computes the parameters of a connection.
_COMPUTING = "get_connection_params"
#: What the states begin with of servers that are not there, or go away.
_CONNECTION = ("08", "57P")


class BemiError(Exception):
    """An error occurred in bemi_django."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class ArchiveError(BemiError):
    """The archive cannot be read or written."""


class HistoryError(BemiError):
    """The contents of the tables at this time are not known.

    ``since`` is the moment from which on they are; None if there is none, or if it is not known.
    """

    def __init__(self, message: str | None = None, since: Any = None) -> None:
        super().__init__(message)
        self.since = since


class BeforeHistory(HistoryError):
    """The log begins later than this moment, ``since``."""


class LogBehind(HistoryError):
    """The log has not reached the present: check that 'manage.py bemi run' is running."""

    @classmethod
    def without_slot(cls, slot: str, *, is_lost: bool = False) -> LogBehind:
        """Return the error for a log that stands still because its slot is gone, or WAL that it needs is."""
        why = "has lost WAL that was not read" if is_lost else "is gone"
        return cls(
            f"the replication slot {slot} {why}: run 'manage.py bemi run --accept-gap' to record the gap"
        )


class KeyStoreUnavailable(BemiError):
    """The store of encryption keys cannot be reached."""


class NoModel(BemiError):
    """No Django model has the table of the change."""


class NotInTransaction(BemiError):
    """apply_context() sets the context of a transaction: call it inside transaction.atomic()."""


class NotInstalled(BemiError):
    """The database objects of bemi_django are missing: run 'manage.py migrate bemi_django' first."""


class ParametersUnavailable(BemiError):
    """The parameters of a connection cannot be computed now."""

    @classmethod
    def of(cls, error: Exception, alias: str) -> ParametersUnavailable:
        """Return what to say of an exception of a backend; its own words may hold a secret."""
        place = traceback.extract_tb(error.__traceback__)[-1:]
        where = "".join(f" in {each.name}, line {each.lineno}" for each in place)
        return cls(
            f"the connection parameters of {alias} cannot be computed ({type(error).__name__}{where}): "
            "see that what ENGINE or OPTIONS in DATABASES calls works here, such as the service of tokens"
        )


class PastIsReadOnly(BemiError):
    """The past cannot be changed: write outside as_of()."""


class PlanChanged(BemiError):
    """The rows have changed since the plan was confirmed: look at the new plan, which ``plan`` holds."""

    def __init__(self, message: str | None = None, plan: Any = None) -> None:
        super().__init__(message)
        self.plan = plan


class ProtocolError(BemiError):
    """The server sent bytes that do not follow the pgoutput protocol."""


class Refused(BemiError):
    """The server refused the operation, and will refuse it again until an administrator acts."""


class RevertConflict(BemiError):
    """The changes cannot be reverted because of conflicts, which ``plan`` lists."""

    def __init__(self, message: str | None = None, plan: Any = None) -> None:
        super().__init__(message)
        self.plan = plan


class UnknownDatabase(BemiError):
    """The database of the change is not in DATABASES."""


class ReplicationError(BemiError):
    """The server cannot stream changes."""


class IsStandby(ReplicationError):
    """The server is a standby: its changes are recorded from its primary. Run this for the primary."""


class SlotInUse(ReplicationError):
    """Another worker holds the replication slot."""


class Superseded(ReplicationError):
    """Another worker has written changes of this slot in the meantime."""


class Disrupted(ReplicationError):
    """The publication or the slot changed while changes were streamed."""


class SinkUnavailable(ReplicationError):
    """What changes are written to does not take them now."""


class QueueUnavailable(SinkUnavailable):
    """The queue cannot be reached."""


class QueueFull(QueueUnavailable):
    """The queue has no room."""


class Unsendable(ReplicationError):
    """The server cannot send a transaction.

    ``lsn`` is where it commits, if the server has told that much; ``is_stuck`` says that it has failed so
    often that it will not stop to.
    """

    def __init__(self, message: str | None = None, lsn: int | None = None, *, is_stuck: bool = False) -> None:
        super().__init__(message)
        self.lsn = lsn
        self.is_stuck = is_stuck


class LostHistory(ReplicationError):
    """Changes were lost: run 'manage.py bemi run --accept-gap' to record the gap and continue."""


def sqlstate_of(error: BaseException) -> str:
    """Return the SQLSTATE of a database error.

    Args:
        error: An exception of psycopg2, psycopg 3, or Django's that wraps one.

    Returns:
        Five characters (appendix "PostgreSQL Error Codes"), or an empty string if there is none.
    """
    for found in (error, error.__cause__):
        # psycopg 3 has the first attribute, psycopg2 the second.
        if state := getattr(found, "sqlstate", None) or getattr(found, "pgcode", None):
            return str(state)
    return ""


def of_parameters(error: Exception) -> ParametersUnavailable | None:
    """Return what to say of an exception if a database's backend has raised it in place of parameters."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == _COMPUTING:
            return ParametersUnavailable.of(error, getattr(frame.f_locals.get("self"), "alias", "a database"))
    return None


def is_away(error: BaseException) -> bool:
    """Tell whether a database error means that the server cannot be reached, or is going away.

    Args:
        error: An operational error of psycopg2, psycopg 3, or Django's that wraps one.
    """
    state = sqlstate_of(error)
    return not state or state.startswith(_CONNECTION)


def first_line(error: BaseException) -> str:
    """Return the part of an error's message that may be logged.

    Args:
        error: Any exception.

    Returns:
        The first line; further lines may hold values of rows. The name of the class if there is no message.
    """
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    line = " ".join(lines[0].split())
    for found in (error, error.__cause__):
        # psycopg2 takes it off where it is English.
        if severity := getattr(getattr(found, "diag", None), "severity", None):
            line = line.removeprefix(f"{severity}: ")
    return line
