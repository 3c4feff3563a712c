"""Each setting with values that it cannot have, and what a check says of them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.checks.model_checks import check_all_models
from django.core.checks.registry import registry

from bemi_django.checks import check_settings
from tests.support.paths import ROOT

#: The settings that the package documents.
SETTINGS = sorted(set(re.findall(r"^\| `(BEMI_\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)))
#: Values of all types, as a mistake or an environment variable makes them.
VALUES: tuple[Any, ...] = (
    None, True, 7, -1, 1.5, float("nan"), float("inf"), 10**400, "", "x y", "False", "\0", "a" * 64, "ä",
    "postgresql://a:b@c/d", b"b", ["a"], [1], [None], [[]], ("a", ("b",)), {"a"}, {"a": 1}, {1: 2},
    {"a": {"b": [1]}}, {"": ""}, {"x": None}, object(), lambda: None,
)  # fmt: skip
_TEXTS = ("", "x y", "False", "\0", "a" * 64, "ä", "postgresql://a:b@c/d")
_KEYS = (None, "a" * 64, "postgresql://a:b@c/d")
_SWITCHES = (True,)
#: Which of the values each setting may have, as far as a check can know without a connection.
RIGHT: dict[str, tuple[object, ...]] = {
    "BEMI_ADMIN_HISTORY": (None,),
    "BEMI_ADMIN_SCOPE": (None, ""),
    "BEMI_ANCHOR_EVERY": (7, 1.5),
    "BEMI_ARCHIVE": (None, *_TEXTS),
    "BEMI_AS_OF_PATIENCE": (7, 1.5),
    "BEMI_CONTEXT_AGE": (7, 10**400),
    "BEMI_CONTEXT_FUNCTION": (None, ""),
    "BEMI_CONTEXT_KEYS": _KEYS,
    "BEMI_ENCRYPTION_KEY": _KEYS,
    "BEMI_ENGINE_OPTIONS": ({"a": {"b": [1]}},),
    "BEMI_KEY_STORE": (None, VALUES[-1]),
    "BEMI_LARGEST_DEAD_LETTER": (7, 1.5),
    "BEMI_LEGAL_HOLD": (None, True, ""),
    "BEMI_MASK_KEY": _KEYS,
    "BEMI_METRICS_TOKEN": (None, *_TEXTS),
    "BEMI_PRUNE_AT": (None, ""),
    "BEMI_PUBLICATION": ("x y", "False", "ä", "postgresql://a:b@c/d"),
    "BEMI_SINK": (None, ""),
    "BEMI_SINK_ATTEMPTS": (7, 10**400),
    "BEMI_SINK_SECRET": (None, *_TEXTS),
    "BEMI_SITE_URL": ("",),
    "BEMI_SLOT": (None, ""),
    "BEMI_TABLE": ("x y", "False", "ä", "postgresql://a:b@c/d"),
    "BEMI_TRUSTED_PROXIES": (None, 7, 10**400),
    "BEMI_WAL_DISK": (None, 7, 1.5),
    **dict.fromkeys(
        (
            "BEMI_ACCEPT_GAP", "BEMI_ADMIN_EVENTS", "BEMI_ALERTS", "BEMI_APPEND_ONLY", "BEMI_AUTH_EVENTS",
            "BEMI_CAPTURE", "BEMI_IGNORE_UNCHANGED", "BEMI_INDEX_VALUES", "BEMI_PROVENANCE",
            "BEMI_SLOT_FAILOVER", "BEMI_TAMPER_EVIDENCE", "BEMI_WEBHOOK_HTTP",
        ),
        _SWITCHES,
    ),
}  # fmt: skip


def test_the_settings_are_those_of_the_package() -> None:
    assert len(SETTINGS) > 40 and set(RIGHT) <= set(SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_wrong_value_is_an_error_that_names_the_setting_and_what_to_write(
    setting: str, settings: Any
) -> None:
    wrong = []
    for value in VALUES:
        setattr(settings, setting, value)
        found = [one for one in check_settings() if one.is_serious() and setting in one.msg]
        is_right = any(
            value is one or (type(value) is type(one) and value == one) for one in RIGHT.get(setting, ())
        )
        if bool(found) is is_right or not all(one.hint for one in found):
            wrong.append((value, found))
    assert not wrong
    # With the checks of Django and of the admin, which read settings as well. Those of models ask the
    # database, from Django 6.1 on.
    setattr(settings, setting, VALUES[-2])
    registered = [one for one in registry.get_checks() if one.__module__ != check_all_models.__module__]
    found = [message for check in registered for message in check(app_configs=None, databases=None)]
    assert any(setting in one.msg and one.is_serious() for one in found)
