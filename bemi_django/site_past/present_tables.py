"""Tables that are shown as they are now while the rest of the site is shown as it was."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from bemi_django.setting_values import patterns
from bemi_django.wire.table_name import of_db_table

#: Who a user is and what they may do is never decided by the past, and Django keeps sites and content types
#: in memory. The admin's log is not tracked by default, and its first page shows it.
_ALWAYS = ("admin", "auth", "contenttypes", "sessions", "sites")


def configured() -> list[str]:
    """Return ``BEMI_TIME_TRAVEL_PRESENT``: labels of further apps and models that stay in the present.

    Raises:
        ImproperlyConfigured: It is no list of texts.
    """
    return patterns("BEMI_TIME_TRAVEL_PRESENT")


def present_tables() -> frozenset[str]:
    """Return the names of the tables.

    Raises:
        ImproperlyConfigured: The setting is no list of texts, or names no app or model.
    """
    return _tables((*configured(), settings.AUTH_USER_MODEL))


@cache
def _tables(labels: tuple[str, ...]) -> frozenset[str]:
    found = {label: list(_models(label)) for label in labels}
    if wrong := [label for label, models in found.items() if not models]:
        raise ImproperlyConfigured(f"BEMI_TIME_TRAVEL_PRESENT names no app or model: {', '.join(wrong)}")
    chosen = [model for models in found.values() for model in models]
    chosen += [model for label in _ALWAYS for model in _models(label)]
    # With the tables of many-to-many fields, such as the groups of a user.
    chosen += [field.remote_field.through for model in chosen for field in model._meta.local_many_to_many]
    return frozenset(of_db_table(model._meta.db_table).name for model in chosen)


def _models(label: str) -> Iterable[Any]:
    try:
        if "." in label:
            return [apps.get_model(label)]
        return apps.get_app_config(label).get_models(include_auto_created=True)
    except (LookupError, ValueError):
        return ()
