"""What the decoder yields: the messages of the pgoutput protocol (PostgreSQL docs, 55.9)."""

from __future__ import annotations

from typing import NamedTuple

#: Values of one row as text in UTF-8; None is NULL, ``UNAVAILABLE`` was not sent.
Row = list[bytes | None]

#: Compared by identity: a value that the replica identity left out, or a TOAST value that did not change.
UNAVAILABLE = b"\0unavailable"


class Column(NamedTuple):
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
    """``commit_lsn`` in bytes, ``committed_at`` in microseconds since 2000-01-01 UTC, 32-bit ``xid``."""

    commit_lsn: int
    committed_at: int
    xid: int


class Commit(NamedTuple):
    commit_lsn: int
    end_lsn: int


class Message(NamedTuple):
    """A logical message; ``lsn`` is where it begins."""

    lsn: int
    prefix: bytes
    content: bytes


class Insert(NamedTuple):
    relation: Relation
    after: Row


class Update(NamedTuple):
    """``before`` holds what the replica identity says of the old row: with FULL, all of it."""

    relation: Relation
    before: Row
    after: Row


class Delete(NamedTuple):
    relation: Relation
    before: Row


class Truncate(NamedTuple):
    relations: tuple[Relation, ...]


Decoded = Begin | Commit | Message | Relation | Insert | Update | Delete | Truncate
