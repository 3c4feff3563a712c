"""Every error that is ours.

BemiError
├── HistoryError          as_of(): what the tables held at a moment is not known
│   └── LogBehind         the log does not reach the present
├── NoModel               a change is of a table that no model has
├── NotInTransaction      apply_context() outside a transaction
├── NotInstalled          a database has no objects of ours: ``migrate`` was not run
├── PastIsReadOnly        a write inside as_of(), or of what was read there
├── ProtocolError         bytes that are not the pgoutput protocol
├── Refused               a right, a role, a database or an object is missing
├── RevertConflict        a revert would overwrite, or cannot be done; it has the plan
├── UnknownDatabase       changes of a database that DATABASES does not have
└── ReplicationError      the server cannot stream: wal_level, rights, slot
    ├── SlotInUse         another worker holds the slot
    ├── Superseded        another worker has written in the meantime
    ├── Disrupted         what the stream rests on has changed under it
    └── LostHistory       changes are missing between the log and what the slot still has
"""

from __future__ import annotations

from typing import Any


class BemiError(Exception):
    """Something went wrong in bemi_django."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class HistoryError(BemiError):
    """What the tables held at this moment is not known."""


class LogBehind(HistoryError):
    """The log does not reach the present: is 'manage.py bemi run' at work?"""


class NoModel(BemiError):
    """No Django model has the table of the change."""


class NotInTransaction(BemiError):
    """apply_context() lasts until the end of the transaction: call it inside transaction.atomic()."""


class NotInstalled(BemiError):
    """The database has no bemi objects: run 'manage.py migrate bemi_django' first."""


class PastIsReadOnly(BemiError):
    """The past cannot be changed: write outside as_of()."""


class ProtocolError(BemiError):
    """The server sent bytes that are not the pgoutput protocol."""


class Refused(BemiError):
    """The server refuses, and will the next time."""


class RevertConflict(BemiError):
    """The changes cannot be reverted as they are; ``plan`` says what stands in the way."""

    def __init__(self, message: str | None = None, plan: Any = None) -> None:
        super().__init__(message)
        self.plan = plan


class UnknownDatabase(BemiError):
    """No database of DATABASES has the name under which the change was recorded."""


class ReplicationError(BemiError):
    """The server does not stream changes."""


class SlotInUse(ReplicationError):
    """Another worker holds the replication slot."""


class Superseded(ReplicationError):
    """Another worker has written changes of this slot in the meantime."""


class Disrupted(ReplicationError):
    """The stream is not what it was when it began."""


class LostHistory(ReplicationError):
    """Changes were lost: run 'manage.py bemi run --accept-gap' to record the gap and go on."""


def sqlstate_of(error: BaseException) -> str:
    """The SQLSTATE, empty where there is none."""
    for found in (error, error.__cause__):
        # That of psycopg 3, and that of psycopg2.
        if state := getattr(found, "sqlstate", None) or getattr(found, "pgcode", None):
            return str(state)
    return ""


def first_line(error: BaseException) -> str:
    """What to log of an error: the lines that follow may hold values of rows."""
    lines = str(error).strip().splitlines()
    return " ".join(lines[0].split()) if lines else type(error).__name__
