"""Decrypt what is encrypted in changes, for whoever may know it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from bemi_django import destinations
from bemi_django.encryption.configured import configured_keys
from bemi_django.encryption.key_table import find_keys
from bemi_django.encryption.known_keys import KnownKeys
from bemi_django.encryption.subject_key import SubjectKey, parse
from bemi_django.schema.search_path import closed_cursor


class DecryptedRows(NamedTuple):
    """Both rows of a change with the values of encrypted columns.

    Attributes:
        before: The row before the change.
        after: The row after it.
        erased: Columns with a value whose key was erased; the value is None.
        unreadable: Columns with a value that no key of ``BEMI_ENCRYPTION_KEY`` decrypts; it is None.
    """

    before: dict[str, Any]
    after: dict[str, Any]
    erased: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()


class LoggedRows(Protocol):
    """What a change has: its table, both rows, and the columns that are masked."""

    database: Any
    schema: Any
    table: Any
    before: Any
    after: Any
    unavailable: Any


class _EncryptedValue(NamedTuple):
    side: str
    column: str
    number: str
    encrypted: bytes


def encrypted_columns(change: LoggedRows) -> frozenset[str]:
    """Return the columns of a change that have an encrypted value."""
    return frozenset(found.column for found in _find(change))


class Decrypter:
    """Decrypts the rows of changes, and asks for each key once.

    A role that may not read the keys finds all values unreadable.

    Args:
        read: Reads JSON.
        alias: Alias of the database of the log.
    """

    def __init__(self, read: Callable[[str], Any], alias: str | None = None) -> None:
        self._read = read
        self._alias = destinations.of_keys(alias)
        self._keys = KnownKeys(self._stored)

    def learn(self, changes: Iterable[LoggedRows]) -> None:
        """Ask for the keys of changes at once."""
        self._keys.learn({found.number for change in changes for found in _find(change)})

    def rows(self, change: LoggedRows) -> DecryptedRows:
        """Return both rows of a change, with the values of encrypted columns.

        Raises:
            ImproperlyConfigured: ``BEMI_ENCRYPTION_KEY`` is wrong.
        """
        self.learn([change])
        return _decrypted(change, list(_find(change)), self._keys.found, self._read)

    def _stored(self, numbers: Collection[str]) -> Mapping[str, SubjectKey | None]:
        with closed_cursor(self._alias) as cursor:
            return find_keys(cursor, numbers, configured_keys())


def decrypt(
    changes: Sequence[LoggedRows], read: Callable[[str], Any], alias: str | None = None
) -> list[DecryptedRows]:
    """Return the rows of changes as :class:`Decrypter` does, with one query for all keys."""
    decrypter = Decrypter(read, alias)
    decrypter.learn(changes)
    return [decrypter.rows(change) for change in changes]


def _find(change: LoggedRows) -> Iterator[_EncryptedValue]:
    # Only these can have such values: another one that looks alike was written so.
    for column in (change.unavailable or {}).get("masked", ()):
        for side in ("before", "after"):
            if (parsed := parse(getattr(change, side).get(column))) is not None:
                yield _EncryptedValue(side, column, *parsed)


def _decrypted(
    change: LoggedRows,
    found: Sequence[_EncryptedValue],
    keys: Mapping[str, SubjectKey | None],
    read: Callable[[str], Any],
) -> DecryptedRows:
    rows: dict[str, dict[str, Any]] = {"before": {**change.before}, "after": {**change.after}}
    erased, unreadable = set(), set()
    for side, column, number, encrypted in found:
        place = [name.encode() for name in (change.database, change.schema, change.table, column)]
        key = keys.get(number)
        value = None if key is None else key.decrypt(encrypted, place)
        rows[side][column] = None if value is None else read(value.decode())
        if number not in keys:
            erased.add(column)
        elif value is None:
            unreadable.add(column)
    return DecryptedRows(rows["before"], rows["after"], frozenset(erased), frozenset(unreadable))
