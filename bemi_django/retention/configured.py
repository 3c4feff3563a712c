"""The settings of retention. Each has a function that reads it whenever it is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from django.conf import settings


def retention() -> Mapping[str, Any]:
    """Return ``BEMI_RETENTION``: how long changes are kept, by model, by table and by default."""
    return cast("Mapping[str, Any]", getattr(settings, "BEMI_RETENTION", {}))


def legal_hold() -> bool | Iterable[str]:
    """Return ``BEMI_LEGAL_HOLD``: the models and tables whose changes are kept in any case; True for all."""
    return cast("bool | Iterable[str]", getattr(settings, "BEMI_LEGAL_HOLD", False))


def prune_at() -> str | None:
    """Return ``BEMI_PRUNE_AT``: when ``bemi run`` prunes the log, as ``HH:MM`` in ``TIME_ZONE``; or None."""
    return cast("str | None", getattr(settings, "BEMI_PRUNE_AT", None))
