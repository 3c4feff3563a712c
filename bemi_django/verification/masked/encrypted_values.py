"""Compare values that are encrypted in the log with those of the table.

They are decrypted by this process, with the keys of a batch of rows asked for at once: no server sees them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from decimal import Decimal
from enum import Enum
from typing import Any

from bemi_django.encryption.known_keys import FindKeys, KnownKeys
from bemi_django.encryption.subject_key import PREFIX, parse

_NUMBER = re.compile(rf'"{PREFIX}([0-9a-f-]{{36}}):')


class Comparison(Enum):
    """What comparing an encrypted value has shown."""

    EQUAL = "equal"
    UNLIKE = "unlike"
    ERASED = "its key was deleted"
    UNREADABLE = "no key of the project decrypts it"


class EncryptedValues:
    """The encrypted values of a table.

    Args:
        find: Finds keys.
        places: Names of the database, schema and table under which its rows were recorded.
    """

    def __init__(self, find: FindKeys, places: Collection[tuple[str, str, str]]) -> None:
        self._keys = KnownKeys(find)
        self._places = [[name.encode() for name in place] for place in places]

    def learn(self, rows: Iterable[str]) -> None:
        """Ask at once for the keys of rows of the log, which are given as JSON."""
        self._keys.learn({number for row in rows for number in _NUMBER.findall(row)})

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
        if number not in self._keys.found:
            return Comparison.ERASED
        if (key := self._keys.found[number]) is None:
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
