"""Take a person's values out of contexts; who did something, and how, stays."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from itertools import chain, count
from typing import Any

from bemi_django.log.lossless_json import dumps, loads
from bemi_django.masking.contexts import MASK
from bemi_django.masking.spelling import folded
from bemi_django.masking.sql_literals import redact_literals
from bemi_django.wire import ADDRESS_KEY, CONNECTION_KEY, INVALID_KEY, RESERVED_KEYS, SQL_KEY

#: What says who did it and how. It is no value of the row.
_WHO = (RESERVED_KEYS - {SQL_KEY, CONNECTION_KEY}) | {
    "user_id", "request_id", "method", "command", "os_user", "sudo_user", "database_role", "handler",
}  # fmt: skip
#: Keys under which contexts say where somebody is.
_WHERE = ("ip",)
#: Names that are no values, whatever the values are.
_OWN = _WHO | RESERVED_KEYS | {*_WHERE}
#: Literals with an escape character of their own: what they say is not looked for, they go.
_UNICODE = re.compile(r"\b[uU]&['\"]")


class ContextEraser:
    """Takes values out of contexts.

    Args:
        values: The values, as text.
    """

    def __init__(self, values: Iterable[str]) -> None:
        # Rows have texts of char(n) with spaces up to their length, which an application does not send.
        texts = {text.rstrip(" ") or text for text in values}
        # A longer one may have a shorter one in it.
        self._values = sorted(texts, key=lambda text: (-len(text), text))
        self._folded = set(filter(None, map(folded, self._values)))

    def erased(self, context: str, statements: Collection[str] = (), *, is_theirs: bool = False) -> str:
        """Return a context without the values: the same text if it has none.

        Args:
            context: A JSON object as text.
            statements: Statements that wrote the values, in whatever form: no literal of them stays.
            is_theirs: Whether the person made the change.
        """
        try:
            found = loads(context)
        except (ValueError, RecursionError):
            return context if not self.mentions(context) else dumps({INVALID_KEY: MASK})
        left: dict[str, Any] = {}
        for key, value in found.items():
            left[self._name(key, found, left)] = self._of_item(key, value, statements, is_theirs)
        return context if left == found else dumps(left)

    def of_texts(self, found: Any) -> Any:
        """Return a value of JSON without the values in its texts; names and numbers stay as they are."""
        if isinstance(found, dict):
            return {name: self.of_texts(item) for name, item in found.items()}
        if isinstance(found, list):
            return [self.of_texts(item) for item in found]
        return self._without(found) if isinstance(found, str) else found

    def mentions(self, text: str) -> bool:
        """Return whether SQL or JSON has one of the values in it, also with escapes."""
        if _UNICODE.search(text) or any(value in text for value in self._values):
            return True
        left = folded(text)
        return any(value in left for value in self._folded)

    def _of_item(self, key: str, value: Any, statements: Collection[str], is_theirs: bool) -> Any:
        if key in _WHO:
            return value
        if key == SQL_KEY and isinstance(value, str):
            return redact_literals(value, MASK) if value in statements or self.mentions(value) else value
        if key == INVALID_KEY and isinstance(value, str):
            return MASK if self.mentions(value) else value
        if is_theirs and key in _WHERE:
            return MASK
        if key == CONNECTION_KEY and isinstance(value, dict):
            return {name: self._of_connection(name, item, is_theirs) for name, item in value.items()}
        return self._without(value)

    def _of_connection(self, name: str, value: Any, is_theirs: bool) -> Any:
        if name != ADDRESS_KEY:
            return value
        return MASK if is_theirs else self._without(value)

    def _name(self, key: str, *taken: Collection[str]) -> str:
        """Return a name without the values, which is not taken."""
        name: str = key if key in _OWN else self._without(key)
        if name == key:
            return key
        numbered = (f"{name} {number}" for number in count(2))
        return next(each for each in chain([name], numbered) if not any(each in names for names in taken))

    def _without(self, value: Any) -> Any:
        if isinstance(value, str):
            for each in self._values:
                value = value.replace(each, MASK)
            return value
        if isinstance(value, dict):
            left: dict[str, Any] = {}
            for key, item in value.items():
                left[self._name(key, value, left)] = self._without(item)
            return left
        if isinstance(value, list):
            return [self._without(item) for item in value]
        return value if value is None or isinstance(value, bool) or dumps(value) not in self._values else MASK
