"""Encrypt the values of a table's columns, each with the key of a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from bemi_django.encryption.key_ring import KeyRing
from bemi_django.encryption.subject_key import SubjectRow
from bemi_django.masking.actions import HASH_PREFIX, NULL, Encryption
from bemi_django.masking.rules import ColumnMask

_HASH = b'"' + HASH_PREFIX.encode()


class ColumnCipher(NamedTuple):
    """How the values of a column are encrypted.

    Attributes:
        column: The index of the column.
        by: The index of the column that holds the key of another row; None for the row itself.
        by_rendered: Whether ``encrypt`` takes the JSON of that column, and not its text, as that is masked.
        encrypt: Returns a value as the log is to have it, from its JSON and the key of the row.
    """

    column: int
    by: int | None
    by_rendered: bool
    encrypt: Callable[[bytes, bytes | None], bytes]


def ciphers_of(
    masks: Mapping[str, ColumnMask],
    names: Sequence[str],
    database: str,
    root: tuple[str, str],
    ring: KeyRing | None,
) -> tuple[ColumnCipher, ...]:
    """Return how the columns of a table are encrypted, of those that are.

    Args:
        masks: The masks of its columns.
        names: The columns.
        database: The name of the database.
        root: Schema and name under which its rows are recorded.
        ring: Finds the keys; nothing is kept of the values if it is None.
    """
    found = []
    for number, column in enumerate(names):
        if column not in masks or (encryption := masks[column].encryption) is None:
            continue
        table, by, is_masked = subject_table(encryption, root), encryption.by, encryption.by in masks
        place = (database, *root, column)
        # Without the column, nobody knows whose value it is.
        encrypt = _encrypting(ring if by in ("", *names) else None, table, place, is_masked=is_masked)
        found.append(ColumnCipher(number, names.index(by) if by in names else None, is_masked, encrypt))
    return tuple(found)


def subject_table(encryption: Encryption, root: tuple[str, str]) -> tuple[str, str]:
    """Return schema and name of the table whose rows have the keys for values of a table.

    Args:
        encryption: What the rule says.
        root: Schema and name of the table of the values.
    """
    schema, _, table = encryption.table.rpartition(".")
    return (schema or root[0], table) if table else root


def _encrypting(
    ring: KeyRing | None, table: tuple[str, str], place: tuple[str, ...], *, is_masked: bool
) -> Callable[[bytes, bytes | None], bytes]:
    names = [name.encode() for name in place]
    database = place[0]

    def encrypt(value: bytes, key: bytes | None) -> bytes:
        if is_masked:
            # Only a hash tells rows apart.
            key = key[1:-1] if key is not None and key.startswith(_HASH) else None
        if ring is None or key is None or value == NULL:
            return NULL
        return ring.key_of(SubjectRow(database, *table, key.decode())).encrypt(value, names)

    return encrypt
