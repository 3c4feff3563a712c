"""The rules of a project, the default ones after its own: what is masked of a table and of a context."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple

from bemi_django.masking import words
from bemi_django.masking.actions import (
    DROP,
    ENCRYPT,
    HASH,
    KEEP,
    PARTIAL,
    Action,
    Encryption,
    Failed,
    Masker,
    ignore_failure,
    masker,
    shared_hasher,
    text_hasher,
)
from bemi_django.masking.flat_types import FLAT_TYPES, SECRET_FIELDS, UNKNOWN_TYPE
from bemi_django.masking.json_paths import PathMask, masker_of_paths
from bemi_django.masking.patterns import ANY_DEPTH, CONTEXT, SECRET, Pattern, may_name, parse, path_matches

Name = tuple[str, str]

_DROP = Action(DROP)
_HASH = Action(HASH)
_DEFAULT_COLUMNS = tuple(parse(text) for text in words.COLUMNS)
_UNREADABLE = "JSON that cannot be read"


class Rule(NamedTuple):
    """A pattern, and what is done to what it matches."""

    pattern: Pattern
    action: Action


_OF_FIELDS = Rule(Pattern("*.*", (ANY_DEPTH, SECRET)), _DROP)


class ColumnMask(NamedTuple):
    """What is kept of the values of a column: ``mask`` of them, or nothing if it is None.

    ``is_repeatable`` tells whether equal values always have equal masks. With an ``encryption``, the values
    are encrypted, which only the worker can do; nothing else keeps anything of them. ``of_text``, if there is
    one, makes of a text what ``mask`` makes of the string of JSON. ``is_of_fields``: only fields of composite
    types are left out, those whose names mean secrets.
    """

    mask: Masker | None
    is_repeatable: bool = False
    encryption: Encryption | None = None
    of_text: Masker | None = None
    is_of_fields: bool = False


class Rules:
    """Rules in their order: the first that matches applies, and after them those by name.

    Args:
        rules: The rules of the project.
        key: The key of hashes. Without one, keys of tables get hashes that end with the process.
        has_defaults: Whether names that mean secrets are masked.
        encryption_keys: What the keys of rows are encrypted with, the newest first.
        key_store: Makes the store of these keys, if they are not in the database.
    """

    def __init__(
        self,
        rules: Sequence[Rule] = (),
        key: bytes | None = None,
        *,
        has_defaults: bool = True,
        encryption_keys: Sequence[bytes] = (),
        key_store: Callable[[], Any] | None = None,
    ) -> None:
        self.encryption_keys = tuple(encryption_keys)
        self.key_store = key_store
        self._columns = [rule for rule in rules if not rule.pattern.is_of_context]
        self._contexts = [rule for rule in rules if rule.pattern.is_of_context]
        self._key = key
        self._has_defaults = has_defaults

    def __bool__(self) -> bool:
        return bool(self._columns or self._contexts or self._has_defaults)

    @property
    def key(self) -> bytes | None:
        """The key of hashes, or None."""
        return self._key

    @property
    def encrypted(self) -> list[tuple[Pattern, Encryption]]:
        """The patterns of columns whose values are encrypted, and with whose key."""
        return [
            (rule.pattern, rule.action.encryption or Encryption())
            for rule in self._columns
            if rule.action.name == ENCRYPT
        ]

    def is_masked(self, names: Collection[Name], column: str, type_oid: int = UNKNOWN_TYPE) -> bool:
        """Return whether a column, or something in it, is masked.

        Args:
            names: The names of the table: schema and name, of a partition also those of its root.
            column: The column.
            type_oid: The oid of its type, if it is known.
        """
        return self.is_masked_whole(names, column) or bool(self._paths(names, column, type_oid))

    def is_masked_whole(self, names: Collection[Name], column: str) -> bool:
        """Return whether a column is masked, and not only something in it."""
        return self._of_column(names, column) is not None

    def is_kept(self, names: Collection[Name], column: str) -> bool:
        """Return whether a rule of the project says that a column is stored as it is."""
        rules = (rule for rule in self._columns if not rule.pattern.path)
        found = (rule for rule in rules if any(rule.pattern.matches(*name, column) for name in names))
        first = next(found, None)
        return first is not None and first.action.name == KEEP

    def may_mask(self, column: str) -> bool:
        """Return whether columns of this name are masked, or something in them, at least in some table."""
        patterns = [rule.pattern for rule in self._columns]
        if self._has_defaults:
            patterns += _DEFAULT_COLUMNS
        is_secret = self._has_defaults and words.is_secret(column)
        return is_secret or any(may_name(pattern.name, column) for pattern in patterns)

    def of_table(
        self,
        names: Collection[Name],
        columns: Iterable[str],
        keys: Collection[str],
        failed: Failed = ignore_failure,
        referring: Collection[str] = (),
        types: Mapping[str, int] = {},
    ) -> dict[str, ColumnMask]:
        """Return the masks of a table's columns, of those that have one.

        Args:
            names: The names of the table.
            columns: Its columns.
            keys: Columns of its key and of foreign keys: without their values, rows could not be told apart,
                so they are hashed, whatever the rule says.
            failed: Called for a function that fails.
            referring: Columns that refer to masked ones, or are generated from them: they are hashed.
            types: The oids of the columns' types, as far as they are known.
        """
        found: dict[str, ColumnMask] = {}
        for column in columns:
            action = self._of_column(names, column)
            paths = [] if action else self._paths(names, column, types.get(column, UNKNOWN_TYPE))
            if column in referring or (column in keys and (action or paths)):
                action = _HASH
            if action is not None:
                found[column] = self._mask(action, failed)
            elif paths:
                masks = [PathMask(rule.pattern.path, self._mask(rule.action, failed).mask) for rule in paths]
                mask = masker_of_paths(masks, partial(failed, column, _UNREADABLE))
                found[column] = ColumnMask(mask, is_of_fields=paths == [_OF_FIELDS])
        return found

    def context_rule(self, keys: tuple[str, ...]) -> Rule | None:
        """Return the rule for the value under some keys of a context."""
        for rule in self._contexts:
            if path_matches(rule.pattern.path, keys):
                return rule
        if self._has_defaults and words.is_secret(keys[-1]):
            return Rule(Pattern(CONTEXT, keys), _DROP)
        return None

    def mask_of_context(self, rule: Rule, failed: Failed = ignore_failure) -> Masker | None:
        """Return what is kept of a value of the context; nothing if it is None."""
        if rule.action.name == HASH:
            return shared_hasher(self._key_of_hashes())
        return self._mask(rule.action, failed).mask

    def is_mentioned(self, word: str) -> bool:
        """Return whether a word of a statement may name a column that is masked, or a key in one."""
        if self._has_defaults and (
            words.is_secret(word) or any(fnmatchcase(word, each.table) for each in _DEFAULT_COLUMNS)
        ):
            return True
        return any(rule.pattern.is_mentioned(word) for rule in self._columns if rule.action.name != KEEP)

    def _mask(self, action: Action, failed: Failed) -> ColumnMask:
        if action.name == DROP:
            return ColumnMask(None)
        if action.name == KEEP:
            return ColumnMask(_as_it_is, is_repeatable=True)
        if action.name == ENCRYPT:
            return ColumnMask(None, encryption=action.encryption or Encryption())
        if action.name == HASH:
            key = self._key_of_hashes()
            return ColumnMask(masker(action, key), is_repeatable=True, of_text=text_hasher(key))
        return ColumnMask(masker(action, None, failed), is_repeatable=action.name == PARTIAL)

    def _key_of_hashes(self) -> bytes:
        if self._key is None:
            self._key = secrets.token_bytes(32)
        return self._key

    def _of_column(self, names: Collection[Name], column: str) -> Action | None:
        for rule in self._columns:
            if not rule.pattern.path and any(rule.pattern.matches(*name, column) for name in names):
                return None if rule.action.name == KEEP else rule.action
        if self._has_defaults and (
            words.is_secret(column)
            or any(each.matches(*name, column) for each in _DEFAULT_COLUMNS for name in names)
        ):
            return _DROP
        return None

    def _paths(self, names: Collection[Name], column: str, type_oid: int) -> Sequence[Rule]:
        if type_oid in FLAT_TYPES:
            return []
        has_defaults = type_oid == SECRET_FIELDS and self._has_defaults and not self.is_kept(names, column)
        rules = [rule for rule in self._columns if rule.pattern.path]
        found = [rule for rule in rules if any(rule.pattern.matches(*name, column) for name in names)]
        return [*found, _OF_FIELDS] if has_defaults else found


DEFAULT = Rules()  # of a project that has none
#: Nothing is masked.
NOTHING = Rules(has_defaults=False)


def parse_rules(mapping: Mapping[str, Action]) -> list[Rule]:
    """Return rules from patterns and actions.

    Raises:
        ValueError: A pattern is not one.
    """
    return [Rule(parse(text), action) for text, action in mapping.items()]


def _as_it_is(value: bytes) -> bytes:
    return value
