"""The keys of subjects, in a table beside the log: encrypted with the key of the project, or in its store."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Any

from bemi_django.encryption.key_store import GuardedStore
from bemi_django.encryption.project_keys import ProjectKeys
from bemi_django.encryption.subject_key import SubjectKey, SubjectRow, new_key
from bemi_django.exceptions import BemiError

# The last one, if a store has forgotten keys.
_FIND = """
SELECT id::text, wrapped, generation FROM _bemi.subject_keys
WHERE database = %s AND schema = %s AND "table" = %s AND key = %s ORDER BY generation DESC LIMIT 1
"""
_MAKE = """
INSERT INTO _bemi.subject_keys (id, generation, database, schema, "table", key, wrapped)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (database, schema, "table", key, generation) DO NOTHING
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
_FORGET = f"DELETE {_OF_SUBJECTS} RETURNING k.id::text, k.wrapped IS NULL"
_COUNT = f"SELECT count(*) {_OF_SUBJECTS}".replace("USING", "CROSS JOIN")
_NO_STORE = "the key {} of _bemi.subject_keys is in a store: set BEMI_KEY_STORE"
#: Subjects that are asked for at once.
_BATCH = 1000
#: Attempts to find a key that others make and erase at the same time.
_ATTEMPTS = 5


def find_or_make(cursor: Any, subject: SubjectRow, keys: ProjectKeys) -> SubjectKey:
    """Return the key of a subject; a new one is in the table before anything is encrypted with it.

    Args:
        cursor: A cursor of the database of the log, in autocommit, with a closed search path.
        subject: The subject.
        keys: The keys of the project, and its store, which gets new keys.

    Raises:
        BemiError: The keys of the project do not decrypt it.
        KeyStoreUnavailable: The store has failed.
    """
    for _ in range(_ATTEMPTS):
        generation = 0
        cursor.execute(_FIND, subject)
        if (found := cursor.fetchone()) is not None:
            number, wrapped, generation = found
            if (known := _unwrapped(number, wrapped, subject, keys)) is not None:
                return SubjectKey(number, known)
            # The store has forgotten it. What it has encrypted is lost, and later values need another one.
            generation += 1
        number = str(uuid.uuid4())
        # One that is not noted, because another worker was faster, encrypts nothing.
        key = new_key() if keys.store is None else keys.store.create(number)
        wrapped = keys.masters.wrap(key, number, subject) if keys.store is None else None
        cursor.execute(_MAKE, [number, generation, *subject, wrapped])
        if cursor.rowcount:
            return SubjectKey(number, key)
    raise BemiError("the key of a subject is made and erased again and again: is it erased in a loop?")


def find_keys(cursor: Any, numbers: Collection[str], keys: ProjectKeys) -> dict[str, SubjectKey | None]:
    """Return keys by their ids: those that are left, and None for one that cannot be read.

    Args:
        cursor: A cursor of the database of the log, with a closed search path. All keys are None for a role
            that may not read them.
        numbers: Ids, which need not be any.
        keys: The keys of the project, of which there may be none, and its store.
    """
    cursor.execute(_MAY_READ)
    if cursor.fetchone() != (True,):
        return dict.fromkeys(numbers)
    found: dict[str, bytes | None] = {}
    stored = []
    cursor.execute(_OF_NUMBERS, [[number for number in numbers if _is_number(number)]])
    for number, *names, wrapped in cursor.fetchall():
        if wrapped is None:
            stored.append(number)
        else:
            found[number] = keys.masters.unwrap(bytes(wrapped), number, SubjectRow(*names))
    found |= keys.readable(stored)
    return {number: None if key is None else SubjectKey(number, key) for number, key in found.items()}


def count_keys(cursor: Any, subjects: Iterable[SubjectRow]) -> int:
    """Return how many subjects have a key."""
    return sum(_ask(cursor, _COUNT, subjects))


def forget_keys(cursor: Any, subjects: Iterable[SubjectRow], store: GuardedStore | None) -> int:
    """Delete the keys of subjects, and return how many there were.

    Args:
        cursor: As for :func:`find_keys`; if something fails, its transaction has to be rolled back.
        subjects: The subjects.
        store: The store of the project.

    Raises:
        BemiError: Keys are in a store, and there is none.
        KeyStoreUnavailable: The store has failed; it may have deleted some of the keys.
    """
    number = 0
    for columns in _columns(subjects):
        cursor.execute(_FORGET, columns)
        deleted = cursor.fetchall()
        number += len(deleted)
        if stored := [key for key, is_stored in deleted if is_stored]:
            if store is None:
                raise BemiError(_NO_STORE.format(stored[0]))
            store.forget(stored)
    return number


def _unwrapped(number: str, wrapped: bytes | None, subject: SubjectRow, keys: ProjectKeys) -> bytes | None:
    """Return a key, or None if a store has forgotten it."""
    if wrapped is None:
        if keys.store is None:
            raise BemiError(_NO_STORE.format(number))
        return keys.store.get([number]).get(number)
    key = keys.masters.unwrap(bytes(wrapped), number, subject)
    if key is None:
        raise BemiError(
            f"the key {number} of _bemi.subject_keys cannot be decrypted: add the former "
            "BEMI_ENCRYPTION_KEY, with which it was encrypted, to the list"
        )
    return key


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
