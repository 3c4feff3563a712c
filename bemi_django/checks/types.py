"""Check that settings have values of their types, before anything is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from bemi_django import conf

_PATTERNS = (
    "Set it to a list of patterns, such as {}. A list of one item needs the comma or the brackets, too."
)
#: Settings in whose place neither an address nor a password is put.
_WITHOUT_SECRETS = {
    "BEMI_INCLUDE", "BEMI_EXCLUDE", "BEMI_MASKED_FIELDS", "BEMI_AS_OF_PATIENCE", "BEMI_LARGEST_DEAD_LETTER",
    "BEMI_ADMIN_HISTORY", "BEMI_RENAMED_COLUMNS", "BEMI_PUBLICATION",
}  # fmt: skip
_Rule = tuple[str, Callable[[], bool], str]


def check_types() -> list[CheckMessage]:
    """Return an error for each setting whose value has another type than it must have."""
    return [
        Error(f"{setting} is {_named(setting)}.", hint=hint, id="bemi.E010")
        for setting, is_right, hint in _rules()
        if hasattr(settings, setting) and not _holds(is_right)
    ]


def _rules() -> list[_Rule]:
    tables, columns = _PATTERNS.format("['public.*']"), _PATTERNS.format("['*.password']")
    return [
        ("BEMI_INCLUDE", lambda: conf.include(()) is not None, tables),
        ("BEMI_EXCLUDE", lambda: conf.exclude() is not None, tables),
        ("BEMI_MASKED_FIELDS", lambda: conf.masked_fields() is not None, columns),
        ("BEMI_DESTINATION", lambda: conf.destination() in connections, "Set it to an alias of DATABASES."),
        ("BEMI_PUBLICATION", lambda: _is_name(conf.publication()), "Set it to a name, or remove it."),
        ("BEMI_AS_OF_PATIENCE", lambda: conf.as_of_patience() >= 0, "Set it to a number of seconds."),
        ("BEMI_LARGEST_DEAD_LETTER", lambda: conf.largest_dead_letter() >= 0, "Set it to a number of bytes."),
        (
            "BEMI_ADMIN_HISTORY",
            lambda: conf.admin_history() in ("replace", "button", None),
            "Set it to 'replace', 'button' or None.",
        ),
        (
            "BEMI_RENAMED_COLUMNS",
            lambda: all(isinstance(names, Mapping) for names in conf.renamed_columns().values()),
            "Set it to {'schema.table': {'old': 'new'}}.",
        ),
        (
            "BEMI_ENGINE_OPTIONS",
            lambda: all(isinstance(conf.engine_options(alias), dict) for alias in connections),
            "Set it to {alias: {argument of create_engine(): value}}.",
        ),
    ]


def _named(setting: str) -> str:
    """Return a value for people: only its type where an address or a password may have been put."""
    value = getattr(settings, setting, None)
    is_alias = isinstance(value, str) and value.isidentifier()
    return repr(value) if setting in _WITHOUT_SECRETS or is_alias else f"of the type {type(value).__name__}"


def _holds(is_right: Callable[[], bool]) -> bool:
    try:
        return is_right()
    except (AttributeError, ImproperlyConfigured, TypeError, ValueError):
        return False


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""
