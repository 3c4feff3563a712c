"""Check that settings have values of their types, before anything is made of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from bemi_django import conf
from bemi_django.setting_values import patterns

_PATTERNS = (
    "Set it to a list of patterns, such as {}. A list of one item needs the comma or the brackets, too."
)
_TEXT = "Set it to a text, or remove it."
#: Settings that are on or off. A text is neither: "False" would be on.
_SWITCHES = (
    "BEMI_ACCEPT_GAP", "BEMI_ALERTS", "BEMI_APPEND_ONLY", "BEMI_CAPTURE", "BEMI_IGNORE_UNCHANGED",
    "BEMI_INDEX_VALUES", "BEMI_PROVENANCE", "BEMI_SLOT_FAILOVER", "BEMI_TRUST_REQUEST_ID",
    "BEMI_WEBHOOK_HTTP",
)  # fmt: skip
#: Settings in whose place neither an address nor a password is put.
_WITHOUT_SECRETS = {
    "BEMI_INCLUDE", "BEMI_EXCLUDE", "BEMI_MASKED_FIELDS", "BEMI_AS_OF_PATIENCE", "BEMI_LARGEST_DEAD_LETTER",
    "BEMI_WAL_DISK",
    "BEMI_ADMIN_HISTORY", "BEMI_RENAMED_COLUMNS", "BEMI_PUBLICATION", "BEMI_SLOT", "BEMI_TIME_TRAVEL_PRESENT",
    *_SWITCHES,
}  # fmt: skip
#: What the server takes as the name of a slot.
_SLOT = re.compile("[a-z0-9_]{1,63}")
#: The longest name of an object in the database, in bytes.
_LONGEST = 63
_IsRight = Callable[[Any], bool]
_Rule = tuple[str, _IsRight, str]


def check_types() -> list[CheckMessage]:
    """Return an error for each setting whose value has another type than it must have."""
    return [
        Error(f"{setting} is {_named(setting)}.", hint=hint, id="bemi.E010")
        for setting, is_right, hint in (*_lists(), *_values(), *_mappings())
        if hasattr(settings, setting) and not _holds(is_right, getattr(settings, setting))
    ]


def _lists() -> list[_Rule]:
    tables, columns = _PATTERNS.format("['public.*']"), _PATTERNS.format("['*.password']")
    labels = _PATTERNS.format("['otp_totp', 'accounts.Device']")
    return [
        ("BEMI_INCLUDE", lambda _: _are_of_tables(patterns("BEMI_INCLUDE")), tables),
        ("BEMI_EXCLUDE", lambda _: _are_of_tables(patterns("BEMI_EXCLUDE")), tables),
        ("BEMI_MASKED_FIELDS", lambda _: conf.masked_fields() is not None, columns),
        ("BEMI_TIME_TRAVEL_PRESENT", lambda _: patterns("BEMI_TIME_TRAVEL_PRESENT") is not None, labels),
        (
            "BEMI_WEBHOOK_NETWORKS",
            lambda _: patterns("BEMI_WEBHOOK_NETWORKS") is not None,
            "Set it to a list of networks: ['10.0.0.0/8'].",
        ),
    ]


def _values() -> list[_Rule]:
    name = f"Set it to a name of {_LONGEST} bytes or less, or remove it."
    slot = f"Set it to up to {_LONGEST} lower case letters, digits and underscores, or remove it."
    url = "Set it to the beginning of an address, such as 'https://shop.example', or remove it."
    return [
        *((setting, _is_switch, "Set it to True or False.") for setting in _SWITCHES),
        *((setting, _is_text, _TEXT) for setting in ("BEMI_METRICS_TOKEN", "BEMI_SINK_SECRET")),
        ("BEMI_DESTINATION", lambda value: value in connections, "Set it to an alias of DATABASES."),
        ("BEMI_PUBLICATION", _is_name, name),
        ("BEMI_SLOT", lambda value: value in (None, "") or _SLOT.fullmatch(value) is not None, slot),
        ("BEMI_SITE_URL", lambda value: value == "" or value.startswith(("http://", "https://")), url),
        ("BEMI_AS_OF_PATIENCE", _is_number, "Set it to a number of seconds."),
        ("BEMI_LARGEST_DEAD_LETTER", _is_number, "Set it to a number of bytes."),
        ("BEMI_WAL_DISK", lambda value: value is None or _is_number(value), "Set it to a number of bytes."),
        (
            "BEMI_ADMIN_HISTORY",
            lambda value: value in ("replace", "button", None),
            "Set it to 'replace', 'button' or None.",
        ),
    ]


def _mappings() -> list[_Rule]:
    return [
        (
            "BEMI_RENAMED_COLUMNS",
            lambda value: all(map(_is_of_texts, value.values())),
            "Set it to {'schema.table': {'old': 'new'}}.",
        ),
        (
            "BEMI_ENGINE_OPTIONS",
            lambda value: all(isinstance(one, Mapping) for one in value.values()),
            "Set it to {alias: {argument of create_engine(): value}}.",
        ),
        ("BEMI_ALERT_HANDLERS", _is_of_texts, "Set it to {name: dotted path of fn(notice)}."),
    ]


def _named(setting: str) -> str:
    """Return a value for people: only its type where an address or a password may have been put."""
    value = getattr(settings, setting)
    is_alias = setting == "BEMI_DESTINATION" and isinstance(value, str) and value.isidentifier()
    return repr(value) if setting in _WITHOUT_SECRETS or is_alias else f"of the type {type(value).__name__}"


def _holds(is_right: _IsRight, value: Any) -> bool:
    try:
        return is_right(value)
    except (AttributeError, ImproperlyConfigured, OverflowError, TypeError, ValueError):
        return False


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _is_text(value: Any) -> bool:
    # None is what an environment variable is that is not set.
    return isinstance(value, (str, type(None)))


def _are_of_tables(found: list[str]) -> bool:
    # Without a schema, a pattern of these two would match nothing.
    return all("." in one or "*" in one for one in found)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value.encode()) <= _LONGEST and "\0" not in value


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and math.isfinite(float(value)) and float(value) >= 0


def _is_of_texts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(one, str) for pair in value.items() for one in pair)
