"""Check of ``BEMI_DESTINATIONS``: which part of the changes each destination has."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from bemi_django import destinations


def check_destinations() -> list[CheckMessage]:
    """Return what is wrong with ``BEMI_DESTINATIONS``."""
    try:
        found = destinations.division()
    except ImproperlyConfigured as error:
        return _wrong(str(error))
    for share in found.shares:
        if share.destination not in connections:
            return _wrong(f"BEMI_DESTINATIONS has {share.destination!r}, which is no alias of DATABASES")
        if connections[share.destination].vendor != "postgresql":
            return _wrong(f"BEMI_DESTINATIONS has {share.destination!r}, which is not PostgreSQL")
        if share.destination == "default":
            return _wrong("BEMI_DESTINATIONS has 'default', which is a source: make it BEMI_DESTINATION")
    return []


def _wrong(message: str) -> list[CheckMessage]:
    hint = "Correct the setting, or remove it: see docs/scaling.md."
    return [Error(f"{message}.", hint=hint, id="bemi.E028")]
