"""What is left out of the log, by the settings and by what models declare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from bemi_django.declarations import ConditionFunction, declarations
from bemi_django.wire.name_pattern import ColumnPattern, TablePattern, column_pattern, table_pattern

_Pattern = TypeVar("_Pattern", ColumnPattern, TablePattern)


def ignored_columns() -> list[ColumnPattern]:
    """Return ``BEMI_IGNORE_COLUMNS``, and what models declare: patterns of columns that are not recorded.

    Raises:
        ImproperlyConfigured: One is not a pattern of columns.
    """
    return [*configured_columns(), *(column for one in declarations() for column in one.columns())]


def configured_columns() -> list[ColumnPattern]:
    """Return ``BEMI_IGNORE_COLUMNS``.

    Raises:
        ImproperlyConfigured: One is not a pattern of columns.
    """
    return _columns("BEMI_IGNORE_COLUMNS", getattr(settings, "BEMI_IGNORE_COLUMNS", []))


def version_columns() -> list[ColumnPattern]:
    """Return ``BEMI_VERSION_COLUMNS``: patterns of columns that get another value whenever a row is saved.

    Raises:
        ImproperlyConfigured: One is not a pattern of columns.
    """
    return _columns("BEMI_VERSION_COLUMNS", getattr(settings, "BEMI_VERSION_COLUMNS", []))


def ignores_unchanged() -> bool:
    """Return ``BEMI_IGNORE_UNCHANGED``: whether updates that change nothing are not recorded."""
    return bool(getattr(settings, "BEMI_IGNORE_UNCHANGED", False))


def conditions() -> list[tuple[TablePattern, str, ConditionFunction]]:
    """Return ``BEMI_CONDITIONS``, and what models declare: functions that tell which changes are recorded.

    Returns:
        For each one the pattern of its tables, a name for messages, and the function.

    Raises:
        ImproperlyConfigured: One is not a pattern of tables, or not a function.
    """
    declared = [
        (one.table, f"of {one.model._meta.label}", one.condition) for one in declarations() if one.condition
    ]
    return [*configured_conditions(), *declared]


def configured_conditions() -> list[tuple[TablePattern, str, ConditionFunction]]:
    """Return ``BEMI_CONDITIONS``, as :func:`conditions` does.

    Raises:
        ImproperlyConfigured: One is not a pattern of tables, or not a function.
    """
    given = getattr(settings, "BEMI_CONDITIONS", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"BEMI_CONDITIONS is {given!r}: it must be {{table: function}}")
    return [
        (_pattern("BEMI_CONDITIONS", table_pattern, text), str(path), _condition(path))
        for text, path in given.items()
    ]


def _columns(setting: str, patterns: object) -> list[ColumnPattern]:
    if not isinstance(patterns, (list, tuple, set, frozenset)):
        raise ImproperlyConfigured(f"{setting} is {patterns!r}: it must be a list")
    return [_pattern(setting, column_pattern, text) for text in patterns]


def _pattern(setting: str, parse: Callable[[object], _Pattern], text: object) -> _Pattern:
    try:
        return parse(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"{setting} has {text!r}: {error}") from None


def _condition(path: object) -> ConditionFunction:
    try:
        function = import_string(path) if isinstance(path, str) else path
    # Importing a module runs it, which may fail in any way.
    except Exception as error:
        reason = f"cannot be imported: {type(error).__name__}: {error}"
    else:
        if callable(function):
            return cast(ConditionFunction, function)
        reason = "is not a function"
    raise ImproperlyConfigured(f"BEMI_CONDITIONS has {path!r}, which {reason}")
