"""The settings of events. Each has a function that reads it whenever it is called."""

from __future__ import annotations

from django.conf import settings


def auth_events() -> bool:
    """Return ``BEMI_AUTH_EVENTS``: whether log-ins, log-outs and failed log-ins are recorded."""
    return bool(getattr(settings, "BEMI_AUTH_EVENTS", False))


def admin_events() -> bool:
    """Return ``BEMI_ADMIN_EVENTS``: whether the audit view records what is done with it."""
    return bool(getattr(settings, "BEMI_ADMIN_EVENTS", True))
