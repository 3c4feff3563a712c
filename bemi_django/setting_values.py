"""Read settings whose values could be taken for something else if they had another type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import BaseDatabaseWrapper

from bemi_django.exceptions import ParametersUnavailable


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


def computed_parameters(backend: BaseDatabaseWrapper) -> dict[str, Any]:
    """Return the parameters that a database's backend computes for its next connection.

    Raises:
        ImproperlyConfigured: ``DATABASES`` is wrong.
        ParametersUnavailable: The backend has raised anything else.
    """
    try:
        return dict(backend.get_connection_params())
    except ImproperlyConfigured:
        raise
    except Exception as error:
        raise ParametersUnavailable.of(error, backend.alias) from error
