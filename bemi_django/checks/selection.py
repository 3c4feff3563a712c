"""Checks of what is left out of the log: patterns of columns, conditions, and what models declare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured

from bemi_django import selection
from bemi_django.capture.functions import accepts
from bemi_django.declarations import declarations, is_key, table_of
from bemi_django.exceptions import NotInstalled
from bemi_django.schema import ignored
from bemi_django.wire.name_pattern import ColumnPattern, matches

_COLUMNS = "Patterns are table.column or schema.table.column. The columns of a key are always recorded."
_VERSIONS = "Set BEMI_VERSION_COLUMNS to a list of table.column or schema.table.column."
_CONDITIONS = "Set BEMI_CONDITIONS to {table: dotted path of a function with (table, before, after)}."
_MATCHES = "Correct the pattern, or remove it. Columns of primary keys are always recorded."
_NAMES = (
    "Correct the name, or remove it: schema.table, without quotes. A partition is recorded with its root: "
    "exclude that."
)
#: The schema of a model's table is not known without a connection.
_ANY_SCHEMA = ("*", "public")


def check_rules() -> list[CheckMessage]:
    """Check the settings and declarations that leave something out, without a connection."""
    return [
        *_check(selection.ignored_columns, _COLUMNS),
        *_check(selection.version_columns, _VERSIONS),
        *_check_conditions(),
        *_check_keys(),
        *_declared(),
    ]


def check_names(aliases: Sequence[str]) -> list[CheckMessage]:
    """Check that each pattern matches something in one of the databases.

    Args:
        aliases: Aliases of the databases.
    """
    try:
        columns = [ignored.unmatched_columns(alias) for alias in aliases]
        tables = [ignored.unmatched_tables(alias) for alias in aliases]
        excluded = [ignored.unmatched_excluded(alias) for alias in aliases]
    except (ImproperlyConfigured, NotInstalled):
        return []
    found = [
        (setting, name)
        for setting, unmatched in (
            ("BEMI_IGNORE_COLUMNS", columns),
            ("BEMI_CONDITIONS", tables),
            ("BEMI_EXCLUDE", excluded),
        )
        for name in (unmatched[0] if unmatched else [])
        if all(name in others for others in unmatched)
    ]
    return [
        Warning(
            f"{name} in {setting} matches nothing that can be left out of {' or '.join(aliases)}.",
            hint=_NAMES if setting == "BEMI_EXCLUDE" else _MATCHES,
            id="bemi.W020",
        )
        for setting, name in found
    ]


def _check(read: Callable[[], object], hint: str) -> list[CheckMessage]:
    try:
        read()
    except ImproperlyConfigured as error:
        return [Error(f"{error}.", hint=hint, id="bemi.E020")]
    return []


def _check_conditions() -> list[CheckMessage]:
    if wrong := _check(selection.conditions, _CONDITIONS):
        return wrong
    return [
        Error(
            f"The condition {name} cannot be called with (table, before, after).",
            hint="Define it with these three arguments.",
            id="bemi.E020",
        )
        for _, name, function in selection.conditions()
        if not accepts(function, 3)
    ]


def _check_keys() -> Iterator[CheckMessage]:
    try:
        patterns = [pattern for pattern in selection.ignored_columns() if pattern.names_one_column]
    except ImproperlyConfigured:
        return
    for pattern in patterns:
        named = [model._meta.label for model in apps.get_models() if _names_key(pattern, model)]
        if named:
            message = f"BEMI_IGNORE_COLUMNS names a primary key of {named[0]}: {'.'.join(pattern)}."
            yield Error(message, hint=_COLUMNS, id="bemi.E020")


def _names_key(pattern: ColumnPattern, model: Any) -> bool:
    table = table_of(model)
    is_here = pattern.schema in _ANY_SCHEMA if table.schema == "*" else matches(pattern.schema, table.schema)
    fields = model._meta.local_concrete_fields
    return (
        is_here
        and matches(pattern.table, table.table)
        and any(is_key(field) and matches(pattern.column, field.column) for field in fields)
    )


def _declared() -> Iterator[CheckMessage]:
    for one in declarations():
        for names, what in (
            (one.unknown_fields(), "which is no field with a column"),
            (one.key_fields(), "which is part of a primary key"),
        ):
            for name in names:
                yield Error(
                    f"track() of {one.model._meta.label} ignores {name!r}, {what}.",
                    hint="Name fields of the model. The columns of a primary key are always recorded.",
                    obj=one.model,
                    id="bemi.E020",
                )
