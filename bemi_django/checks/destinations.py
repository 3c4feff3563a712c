"""Checks of ``BEMI_DESTINATION`` and ``BEMI_DESTINATIONS``: where the changes are written."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from bemi_django import conf, destinations


def check_destinations() -> list[CheckMessage]:
    """Return what is wrong with ``BEMI_DESTINATION`` and ``BEMI_DESTINATIONS``."""
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
    return _check_first()


def _check_first() -> list[CheckMessage]:
    first = destinations.first()
    sources = [alias for alias in connections if conf.is_source(alias)]
    if not sources or destinations.is_log(first):
        return []
    message = (
        f"Changes of {sources[0]!r} are not recorded: {first!r}, which is to hold them, is not PostgreSQL."
    )
    hint = "Set BEMI_DESTINATION to the alias of a PostgreSQL database."
    return [Warning(message, hint=hint, id="bemi.W016")]


def _wrong(message: str) -> list[CheckMessage]:
    hint = "Correct the setting, or remove it: see docs/scaling.md."
    return [Error(f"{message}.", hint=hint, id="bemi.E028")]
