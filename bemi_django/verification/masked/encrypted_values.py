"""Compare values that are encrypted in the log with those of the table.

They are decrypted by this process, with the keys of a batch of rows asked for at once: no server sees them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any

from bemi_django.encryption.subject_key import PREFIX, SubjectKey, parse

_NUMBER = re.compile(rf'"{PREFIX}([0-9a-f-]{{36}}):')
#: Keys that are remembered.
_REMEMBERED = 10_000


class Comparison(Enum):
    """What comparing an encrypted value has shown."""

    EQUAL = "equal"
    UNLIKE = "unlike"
    ERASED = "its key was deleted"
    UNREADABLE = "no key of the project decrypts it"


#: Returns keys by their ids: those that are left, and None for one that cannot be decrypted.
FindKeys = Callable[[Collection[str]], Mapping[str, "SubjectKey | None"]]


class EncryptedValues:
    """The encrypted values of a table.

    Args:
        find: Finds keys.
        places: Names of the database, schema and table under which its rows were recorded.
    """

    def __init__(self, find: FindKeys, places: Collection[tuple[str, str, str]]) -> None:
        self._find = find
        self._places = [[name.encode() for name in place] for place in places]
        self._keys: dict[str, SubjectKey | None] = {}
        self._asked: set[str] = set()

    def learn(self, rows: Iterable[str]) -> None:
        """Ask at once for the keys of rows of the log, which are given as JSON."""
        wanted = {number for row in rows for number in _NUMBER.findall(row)} - self._asked
        if not wanted:
            return
        if len(self._asked) > _REMEMBERED:
            self._asked, self._keys = set(), {}
        self._asked |= wanted
        self._keys.update(self._find(wanted))

    def compare(self, column: str, logged: object, live: bytes) -> Comparison | None:
        """Compare a value of the log with one of the table; None if it is not an encrypted one.

        Args:
            column: The column.
            logged: The value of the log.
            live: The value of the table as JSON.
        """
        if (parsed := parse(logged)) is None:
            return None
        number, encrypted = parsed
        if number not in self._keys:
            return Comparison.ERASED
        if (key := self._keys[number]) is None:
            return Comparison.UNREADABLE
        for place in self._places:
            value = key.decrypt(encrypted, [*place, column.encode()])
            if value is not None:
                return Comparison.EQUAL if _value(value) == _value(live) else Comparison.UNLIKE
        # Nobody but the worker writes such a text: it was altered, or is of another column.
        return Comparison.UNLIKE


def _value(text: bytes) -> Any:
    return json.loads(text, parse_int=_number, parse_float=_number)


def _number(literal: str) -> tuple[Decimal]:
    # No other value of JSON is a tuple; True is equal to 1.
    return (Decimal(literal),)
