"""Every error that is ours.

BemiError
├── NotInTransaction      apply_context() outside a transaction
├── NotInstalled          the database has no trigger function: ``migrate`` was not run
├── ReplicationError      the server cannot stream: wal_level, rights, slot
└── ProtocolError         bytes that are not the pgoutput protocol
"""

from __future__ import annotations


class BemiError(Exception):
    """Something went wrong in bemi_django."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class NotInTransaction(BemiError):
    """apply_context() lasts until the end of the transaction: call it inside transaction.atomic()."""


class NotInstalled(BemiError):
    """The database has no bemi objects: run 'manage.py migrate bemi_django' first."""


class ReplicationError(BemiError):
    """The server does not stream changes."""


class ProtocolError(BemiError):
    """The server sent bytes that are not the pgoutput protocol."""
