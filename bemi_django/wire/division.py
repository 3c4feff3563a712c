"""A division of the changes among several destinations: each change belongs to exactly one of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

from bemi_django.wire.name_pattern import TablePattern, matches


def row_hash(schema: str, table: str, key: str | None) -> int:
    """Return the CRC-32 of schema, table and key, each followed by NUL."""
    return crc32(f"{schema}\0{table}\0{key or ''}\0".encode())


def destinations_in(fingerprint: str) -> list[str]:
    """Return the names of the destinations of a division, the first one first; none if there is only one."""
    return list(json.loads(fingerprint)[1:]) if fingerprint else []


def is_division(fingerprint: str) -> bool:
    """Return whether a text is the fingerprint of a division, or empty."""
    try:
        return all(isinstance(name, str) for name in destinations_in(fingerprint))
    except (TypeError, ValueError, RecursionError):
        return False


class Share(NamedTuple):
    """What a destination has: the changes that meet all of these conditions.

    ``databases`` are patterns of the names of sources and ``tables`` patterns of tables, each empty for all.
    Of ``parts`` equal parts of the rows, by the hash of their keys, it is part ``number``, counted from 1.
    """

    destination: str
    databases: Sequence[str] = ()
    tables: Sequence[TablePattern] = ()
    number: int = 1
    parts: int = 1

    def has_database(self, database: str) -> bool:
        """Return whether it may have changes of a source."""
        return not self.databases or any(matches(pattern, database) for pattern in self.databases)

    def has_table(self, database: str, schema: str, table: str) -> bool:
        """Return whether it has changes of a table, all of them or those of some rows."""
        return self.has_database(database) and (
            not self.tables or any(pattern.matches(schema, table) for pattern in self.tables)
        )

    def has_row(self, hashed: int) -> bool:
        """Return whether it has a row, by its hash, of a table that it has."""
        # The lower bits choose the lane: a destination should have rows of all lanes.
        return self.parts == 1 or (hashed >> 16) % self.parts == self.number - 1


class Division(NamedTuple):
    """Which destination has which changes: the first one of ``shares`` that has it, or else ``rest``."""

    rest: str
    shares: tuple[Share, ...] = ()

    @property
    def fingerprint(self) -> str:
        """A text that another division does not have, with the names of all destinations; empty for one."""
        if not self.shares:
            return ""
        digest = hashlib.sha256(json.dumps([self.rest, self.shares]).encode()).hexdigest()
        return json.dumps([digest[:32], self.rest, *(share.destination for share in self.shares)])

    def destination_of(self, database: str, schema: str, table: str, key: str | None) -> str:
        """Return the destination of a change; ``key`` is that of the row after it."""
        hashed = row_hash(schema, table, key)
        for share in self.shares:
            if share.has_table(database, schema, table) and share.has_row(hashed):
                return share.destination
        return self.rest

    def of_table(self, database: str, schema: str, table: str) -> list[str]:
        """Return the destinations that have changes of a table: several if its rows are divided."""
        found = []
        for share in self.shares:
            if share.has_table(database, schema, table):
                found.append(share.destination)
                if share.parts == 1:
                    return found
        return [*found, self.rest]

    def of_database(self, database: str) -> list[str]:
        """Return the destinations that may have changes of a source."""
        found = []
        for share in self.shares:
            if share.has_database(database):
                found.append(share.destination)
                if share.parts == 1 and not share.tables:
                    return found
        return [*found, self.rest]
