"""Read settings whose values could be taken for something else if they had another type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


def patterns(setting: str, default: Sequence[str] = ()) -> list[str]:
    """Return a setting that is a list of patterns.

    Args:
        setting: The name of the setting.
        default: What is returned without it.

    Raises:
        ImproperlyConfigured: It is no list of texts. A text alone would be taken for its characters, and what
            was meant to be left out would be recorded.
    """
    value: Any = getattr(settings, setting, default)
    if isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(one, str) for one in value):
        return list(value)
    raise ImproperlyConfigured(f"{setting} is {value!r}, which is not a list of texts")
