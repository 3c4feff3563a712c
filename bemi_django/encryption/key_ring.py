"""The keys that the worker encrypts with."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

from bemi_django.encryption.key_table import find_or_make
from bemi_django.encryption.project_keys import ProjectKeys
from bemi_django.encryption.subject_key import SubjectKey, SubjectRow

#: Seconds for which a key is used before the table is asked whether it is still there.
LIFETIME = 1.0
#: Keys that are remembered.
_REMEMBERED = 4096


class _Remembered(NamedTuple):
    key: SubjectKey
    until: float


class KeyRing:
    """Finds the keys of subjects, or makes them, over a connection of its own.

    A key is committed before a row that needs it. One that was erased is not used for longer than
    :data:`LIFETIME`; what was encrypted with it in between stays unreadable, and the subject then gets
    another key.

    Args:
        connect: Opens a connection to the database of the log, in autocommit; called with the first subject.
        keys: Returns the keys of the project.
    """

    def __init__(self, connect: Callable[[], Any], keys: Callable[[], ProjectKeys]) -> None:
        self._connect = connect
        self._ask_keys = keys
        self._opened: tuple[Any, ProjectKeys] | None = None
        self._known: dict[SubjectRow, _Remembered] = {}

    def key_of(self, subject: SubjectRow) -> SubjectKey:
        """Return the key of a subject.

        Raises:
            BemiError: The keys of the project do not decrypt it.
            KeyStoreUnavailable: The store of the project has failed.
        """
        now = monotonic()
        known = self._known.get(subject)
        if known is not None and now < known.until:
            return known.key
        if self._opened is None:
            self._opened = self._connect(), self._ask_keys()
        connection, keys = self._opened
        with connection.cursor() as cursor:
            key = find_or_make(cursor, subject, keys)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[subject] = _Remembered(key, now + LIFETIME)
        return key

    def close(self) -> None:
        """Close the connection."""
        if self._opened is not None:
            self._opened[0].close()
