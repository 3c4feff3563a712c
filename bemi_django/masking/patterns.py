"""Patterns of what is masked: ``table.column``, ``table.column->key``, ``context->key``.

``schema.table.column`` is possible, too. ``*``, ``?`` and ``[abc]`` are wildcards, also in keys; the key
``**`` stands for any number of keys, ``<secret>`` for a key whose name means a secret. Arrays have no keys: a
path goes through them.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple

from bemi_django.masking import words

ARROW = "->"
#: Instead of a column: the context of a statement.
CONTEXT = "context"
#: A key that stands for any number of keys.
ANY_DEPTH = "**"
#: A key that stands for each whose name means a secret.
SECRET = "<secret>"
# A set of characters is one of a name, as any other sign is.
_SIGNS = re.compile(r"\[!?\]?[^\]]*\]|.", re.DOTALL)


class Pattern(NamedTuple):
    """A pattern of columns, or of keys in a column or in the context.

    Attributes:
        name: The pattern of the column, or ``context``.
        path: Patterns of keys, the outermost first; empty for a whole column.
    """

    name: str
    path: tuple[str, ...] = ()

    @property
    def is_of_context(self) -> bool:
        """Whether keys of the context are meant."""
        return self.name == CONTEXT

    @property
    def table(self) -> str:
        """The pattern of the table's name."""
        return self.name.rpartition(".")[0].rpartition(".")[2]

    @property
    def column(self) -> str:
        """The pattern of the column's name."""
        return self.name.rpartition(".")[2]

    def matches(self, schema: str, table: str, column: str) -> bool:
        """Return whether the pattern applies to a column, or to keys in it."""
        names = (f"{table}.{column}", f"{schema}.{table}.{column}")
        return not self.is_of_context and any(fnmatchcase(name, self.name) for name in names)

    def is_mentioned(self, word: str) -> bool:
        """Return whether a word of a statement may name a column that is meant, or a key in one."""
        parts = [self.column, self.table, *self.path[-1:]]
        # The part that says most; SQL folds letters.
        telling = next((part for part in parts if set(part) - {"*", "?"}), None)
        return telling is None or key_matches(telling, word) or key_matches(telling.lower(), word.lower())


@lru_cache(maxsize=1024)
def parse(text: object) -> Pattern:
    """Return the pattern that a text is.

    Raises:
        ValueError: It is none; the message says what it must be.
    """
    name, *path = [part.strip() for part in str(text).split(ARROW)]
    if not all(path):
        raise ValueError(f"{text!r} has an empty key: write table.column->key, or table.column->*->key")
    if name == CONTEXT:
        if not path:
            raise ValueError("'context' names no key: write context->key")
    elif not 2 <= name.count(".") + 1 <= 3 or not all(name.split(".")):
        raise ValueError(
            f"{text!r} is not table.column, schema.table.column, table.column->key or context->key"
        )
    return Pattern(name, tuple(path))


def may_name(pattern: str, column: str) -> bool:
    """Return whether a pattern of columns applies to those of a name, at least in some table.

    A wildcard may stand for a part of the table's name, the dot and a part of the column's.
    """
    signs = _SIGNS.findall(pattern)
    return any(fnmatchcase(f".{column}", "".join(signs[at:])) for at in range(len(signs)))


def path_matches(path: tuple[str, ...], keys: tuple[str, ...]) -> bool:
    """Return whether a pattern of keys applies to the value under some keys."""
    if ANY_DEPTH not in path:
        return len(path) == len(keys) and all(map(key_matches, path, keys))
    start = path.index(ANY_DEPTH)
    rest = path[start + 1 :]
    if len(keys) < start or not all(map(key_matches, path[:start], keys)):
        return False
    if ANY_DEPTH in rest:
        return any(path_matches(rest, keys[at:]) for at in range(start, len(keys) + 1))
    # A value may stand under hundreds of keys: only those that count are looked at.
    end = len(keys) - len(rest)
    return start <= end and all(map(key_matches, rest, keys[end:]))


def key_matches(pattern: str, key: str) -> bool:
    """Return whether a pattern of one key applies to a key."""
    return words.is_secret(key) if pattern == SECRET else fnmatchcase(key, pattern)
