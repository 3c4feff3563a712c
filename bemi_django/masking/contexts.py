"""Mask contexts, the SQL in them, and contexts that could not be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

import orjson

from bemi_django.masking.actions import KEEP, Failed, Masker, ignore_failure
from bemi_django.masking.json_paths import mask_values, read
from bemi_django.masking.rules import Rules
from bemi_django.masking.sql_calls import calls_functions
from bemi_django.masking.sql_literals import redact_literals
from bemi_django.wire import INVALID_KEY, MAX_CONTEXT_CHARACTERS, MAX_SQL_CHARACTERS, SQL_KEY
from bemi_django.wire.json_values import values_of

#: What stands for a literal, and for a text that is masked as a whole.
MASK = "***"

_WORD = re.compile(r"\w+")
# What PostgreSQL takes for a name beside words; any character that is not ASCII is a letter to it.
_NAME = re.compile(r"[\w$\x80-\U0010ffff]+")
# A single statement of these kinds writes its values to the table that it names, and to others only by what
# triggers and rules of that one do.
_WRITES = re.compile(
    r"""\s*(?:INSERT\s+INTO|UPDATE(?:\s+ONLY)?|DELETE\s+FROM(?:\s+ONLY)?|COPY)\s+
    (?:(?:"[^"]+"|[\w$\x80-\U0010ffff]+)\s*\.\s*)?
    (?:"(?P<quoted>[^"]+)"|(?P<table>[\w$\x80-\U0010ffff]+))(?![\w"$\x80-\U0010ffff]|\s*(?:\.|--|/\*))""",
    re.IGNORECASE | re.VERBOSE,
)
# Words before the name of a table, which are names themselves.
_OPTIONS = ("only", "binary")
_ANOTHER = re.compile(r";\s*\S")
_ENCODED_LETTER = re.compile(r"\\u00[4-7]")
_ENCODED_NAME = re.compile(r'u&"', re.IGNORECASE)
#: What is remembered, because it comes again: the greatest number of names of an object, bytes of their
#: context, and characters of a word. Anybody may send others, of megabytes.
_USUAL, _USUAL_CONTEXT, _USUAL_WORD = 32, 16 * 1024, 200
_NESTED = frozenset((dict, list))


class ContextMasks:
    """Masks contexts by the rules of a project.

    Args:
        rules: The rules.
        failed: Called for a function that fails.
        tables: Returns those of some names, in lower case, by which tables with masked columns are written.
    """

    def __init__(
        self,
        rules: Rules,
        failed: Failed = ignore_failure,
        tables: Callable[[frozenset[str]], Collection[str]] = lambda names: (),
    ) -> None:
        self._rules = rules
        #: Whether anything is masked.
        self.has_rules = bool(rules)
        self._tables = tables
        self._failed = failed
        self._is_mentioned = lru_cache(maxsize=8192)(rules.is_mentioned)
        self._judged = lru_cache(maxsize=256)(self._judge)
        self._names_masked = lru_cache(maxsize=256)(self._is_one_masked)

    def masked(self, context: bytes, *, is_touching: bool = False) -> bytes:
        """Return a context without what is masked: the same object if there is nothing.

        Args:
            context: A JSON object.
            is_touching: Whether the statement is known to write to a table with masked columns.
        """
        if not self.has_rules or context == b"{}":
            return context
        try:
            values = values_of(context)
        except ValueError:
            # Numbers that only jsonb holds.
            values = read(context)
        sql = values.get(SQL_KEY)
        hidden = self.statement(sql, is_touching=is_touching) if isinstance(sql, str) else sql
        is_usual = len(context) <= _USUAL_CONTEXT
        if (
            hidden == sql
            and INVALID_KEY not in values
            and not self._has_masked_key(values, is_usual=is_usual)
        ):
            return context
        values = mask_values(read(context), self._find)
        if isinstance(sql, str):
            values[SQL_KEY] = hidden
        text = values.get(INVALID_KEY)
        if isinstance(text, str) and (is_touching or self.mentions(text)):
            values[INVALID_KEY] = MASK
        return orjson.dumps(values)

    def mentions(self, text: str) -> bool:
        """Return whether a text that is neither JSON nor SQL may hold what is masked."""
        return _ENCODED_LETTER.search(text) is not None or any(map(self._mentions, _WORD.findall(text)))

    def may_be_in(self, message: bytes) -> bool:
        """Return whether a message that cannot be read may hold what is masked."""
        if len(message) > MAX_CONTEXT_CHARACTERS:
            # Anybody may send a gigabyte, in which words are looked for in minutes.
            return self.has_rules
        text = message.decode("utf-8", "replace")
        # A record names its table, and may have values of it without their columns.
        return self.mentions(text) or bool(self.has_rules and self._tables(_names_in(text.lower())))

    def statement(self, sql: str, *, is_touching: bool = False) -> str:
        """Return a statement, without its literals if it may touch what is masked."""
        return redact_literals(sql, MASK) if is_touching or self.touches(sql) else sql

    def touches(self, sql: str) -> bool:
        """Return whether a statement may touch what is masked, as far as its text says."""
        if not self.has_rules:
            return False
        # Rows of one table may have the text of what is written to another one.
        # A statement that was cut may go on with anything. Anybody may send one of megabytes.
        names = self._judged(sql) if len(sql) < MAX_SQL_CHARACTERS else None
        return names is None or bool(self._tables(names))

    def _judge(self, sql: str) -> frozenset[str] | None:
        """Return the names of tables to which a statement may write; None if it touches what is masked."""
        if calls_functions(sql) or _ENCODED_NAME.search(sql):
            return None
        if any(map(self._mentions, _WORD.findall(sql))):
            return None
        return _tables_in(sql.lower())

    def _mentions(self, word: str) -> bool:
        return (self._is_mentioned if len(word) <= _USUAL_WORD else self._rules.is_mentioned)(word)

    def _has_masked_key(self, values: Any, keys: tuple[str, ...] = (), *, is_usual: bool) -> bool:
        if isinstance(values, dict):
            names = tuple(values)
            is_one_masked = self._names_masked if is_usual and len(names) <= _USUAL else self._is_one_masked
            if is_one_masked(keys, names):
                return True
            for key, item in values.items():
                if type(item) in _NESTED and self._has_masked_key(item, (*keys, key), is_usual=is_usual):
                    return True
            return False
        return isinstance(values, list) and any(
            self._has_masked_key(item, keys, is_usual=is_usual) for item in values
        )

    def _is_one_masked(self, keys: tuple[str, ...], names: tuple[str, ...]) -> bool:
        """Return whether a value is masked of an object under some keys, which has values of these names."""
        return any(self._find((*keys, name))[0] for name in names)

    def _find(self, keys: tuple[str, ...]) -> tuple[bool, Masker | None]:
        if keys == (SQL_KEY,):
            return False, None
        rule = self._rules.context_rule(keys)
        if rule is None or rule.action.name == KEEP:
            return False, None
        return True, self._rules.mask_of_context(rule, self._failed) or _starred


def _tables_in(sql: str) -> frozenset[str]:
    """Return the names of tables to which a text in lower case may write, and others."""
    found = None if _ANOTHER.search(sql) else _WRITES.match(sql)
    name = found and (found["quoted"] or found["table"])
    if name and name not in _OPTIONS:
        return frozenset((name,))
    return _names_in(sql)


def _names_in(text: str) -> frozenset[str]:
    """Return all that may be a name in a text in lower case."""
    # Which quotes begin a name is not known, so what stands between any two of them may be one.
    quoted = (part.replace("\0", '"') for part in text.replace('""', "\0").split('"'))
    return frozenset((*_WORD.findall(text), *_NAME.findall(text), *text.split('"'), *quoted))


def _starred(value: bytes) -> bytes:
    return b'"' + MASK.encode() + b'"'
