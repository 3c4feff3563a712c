"""The keys of subjects, in a table beside the log, each encrypted with the key of the project."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from bemi_django.encryption.master_keys import MasterKeys
from bemi_django.encryption.subject_key import SubjectKey, SubjectRow, new_key
from bemi_django.exceptions import BemiError

_FIND = """
SELECT id::text, wrapped FROM _bemi.subject_keys
WHERE database = %s AND schema = %s AND "table" = %s AND key = %s
"""
_MAKE = """
INSERT INTO _bemi.subject_keys (id, database, schema, "table", key, wrapped) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (database, schema, "table", key) DO NOTHING
"""
_OF_NUMBERS = """
SELECT id::text, database, schema, "table", key, wrapped FROM _bemi.subject_keys
WHERE id = ANY (%s::text[]::uuid[])
"""
_OF_SUBJECTS = """
FROM _bemi.subject_keys k USING unnest(%s::text[], %s::text[], %s::text[], %s::text[])
    s (database, schema, "table", key)
WHERE (k.database, k.schema, k."table", k.key) = (s.database, s.schema, s."table", s.key)
"""
_MAY_READ = "SELECT has_table_privilege('_bemi.subject_keys', 'SELECT')"
_FORGET = f"DELETE {_OF_SUBJECTS}"
_COUNT = f"SELECT count(*) {_OF_SUBJECTS}".replace("USING", "CROSS JOIN")
#: Subjects that are asked for at once.
_BATCH = 1000
#: Attempts to find a key that others make and erase at the same time.
_ATTEMPTS = 5


def find_or_make(cursor: Any, subject: SubjectRow, masters: MasterKeys) -> SubjectKey:
    """Return the key of a subject; a new one is in the table before anything is encrypted with it.

    Args:
        cursor: A cursor of the database of the log, in autocommit, with a closed search path.
        subject: The subject.
        masters: The keys of the project.

    Raises:
        BemiError: The keys of the project do not decrypt it.
    """
    for _ in range(_ATTEMPTS):
        cursor.execute(_FIND, subject)
        if (found := cursor.fetchone()) is not None:
            key = masters.unwrap(bytes(found[1]), found[0], subject)
            if key is None:
                raise BemiError(
                    f"the key {found[0]} of _bemi.subject_keys cannot be decrypted: add the former "
                    "BEMI_ENCRYPTION_KEY, with which it was encrypted, to the list"
                )
            return SubjectKey(found[0], key)
        number, key = str(uuid.uuid4()), new_key()
        cursor.execute(_MAKE, [number, *subject, masters.wrap(key, number, subject)])
        if cursor.rowcount:
            return SubjectKey(number, key)
    raise BemiError("the key of a subject is made and erased again and again: is it erased in a loop?")


def read_keys(cursor: Any, numbers: Collection[str], masters: MasterKeys) -> dict[str, SubjectKey | None]:
    """Return keys by their ids: those that are left, and None for one that cannot be decrypted.

    Args:
        cursor: A cursor of the database of the log, with a closed search path.
        numbers: Ids, which need not be any.
        masters: The keys of the project.
    """
    found: dict[str, SubjectKey | None] = {}
    cursor.execute(_OF_NUMBERS, [[number for number in numbers if _is_number(number)]])
    for number, *names, wrapped in cursor.fetchall():
        key = masters.unwrap(bytes(wrapped), number, SubjectRow(*names))
        found[number] = None if key is None else SubjectKey(number, key)
    return found


def find_keys(cursor: Any, numbers: Collection[str], keys: Sequence[bytes]) -> dict[str, SubjectKey | None]:
    """Return keys by their ids, for a role that need not be able to read them: then all are None.

    Args:
        cursor: As for :func:`read_keys`.
        numbers: Likewise.
        keys: The keys of the project, of which there may be none.
    """
    cursor.execute(_MAY_READ)
    if cursor.fetchone() != (True,):
        return dict.fromkeys(numbers)
    return read_keys(cursor, numbers, MasterKeys(keys))


def count_keys(cursor: Any, subjects: Iterable[SubjectRow]) -> int:
    """Return how many subjects have a key."""
    return sum(_ask(cursor, _COUNT, subjects))


def forget_keys(cursor: Any, subjects: Iterable[SubjectRow]) -> int:
    """Delete the keys of subjects, and return how many there were."""
    number = 0
    for columns in _columns(subjects):
        cursor.execute(_FORGET, columns)
        number += cursor.rowcount
    return number


def _ask(cursor: Any, query: str, subjects: Iterable[SubjectRow]) -> Iterator[int]:
    for columns in _columns(subjects):
        cursor.execute(query, columns)
        yield cursor.fetchone()[0]


def _columns(subjects: Iterable[SubjectRow]) -> Iterator[list[list[str]]]:
    left = iter(subjects)
    while batch := list(islice(left, _BATCH)):
        yield [list(column) for column in zip(*batch, strict=True)]


def _is_number(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
