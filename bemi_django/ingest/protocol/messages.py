"""Decoded messages of the pgoutput protocol (PostgreSQL docs, 55.9)."""

from __future__ import annotations

from typing import NamedTuple

#: The values of one row as text in UTF-8; None is NULL, ``UNAVAILABLE`` was not sent.
Row = list[bytes | None]


class LargeRow(Row):
    """A row of many megabytes: its values may be views of the message, which nobody has copied."""


#: Stands for a value that the replica identity left out, or for a TOAST value that did not change.
#: It is compared by identity.
UNAVAILABLE = b"\0unavailable"


class Column(NamedTuple):
    """A column as a Relation message describes it."""

    name: str
    type_oid: int
    in_identity: bool


class Relation(NamedTuple):
    """A table as it was when the rows that follow were written."""

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]


class Begin(NamedTuple):
    """The start of a transaction.

    ``commit_lsn`` is in bytes, ``committed_at`` in microseconds since 2000-01-01 UTC; ``xid`` has 32 bits.
    """

    commit_lsn: int
    committed_at: int
    xid: int


class Commit(NamedTuple):
    """The end of a transaction; its WAL ends at ``end_lsn``."""

    commit_lsn: int
    end_lsn: int


class Message(NamedTuple):
    """A logical message that begins at ``lsn``; if it is not transactional, it belongs to no transaction."""

    lsn: int
    prefix: bytes
    content: bytes
    is_transactional: bool = True


class Insert(NamedTuple):
    """A new row."""

    relation: Relation
    after: Row


class Update(NamedTuple):
    """A changed row; ``before`` holds what the replica identity keeps of it: everything, with FULL."""

    relation: Relation
    before: Row
    after: Row


class Delete(NamedTuple):
    """A deleted row; ``before`` holds what the replica identity keeps of it."""

    relation: Relation
    before: Row


class Truncate(NamedTuple):
    """Tables that one statement emptied."""

    relations: tuple[Relation, ...]


Decoded = Begin | Commit | Message | Relation | Insert | Update | Delete | Truncate
