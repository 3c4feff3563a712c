"""Record log-ins, log-outs and failed log-ins, by the signals of ``django.contrib.auth``."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import models

from bemi_django.events import configured
from bemi_django.events.recording import try_to_emit

#: Characters that are kept of the name that somebody has given.
_LONGEST = 150
_ID = "bemi_django"


def install() -> None:
    """Listen to the signals; ``BEMI_AUTH_EVENTS`` is read when one comes."""
    user_logged_in.connect(_logged_in, dispatch_uid=_ID)
    user_logged_out.connect(_logged_out, dispatch_uid=_ID)
    user_login_failed.connect(_login_failed, dispatch_uid=_ID)


def _logged_in(user: Any, **kwargs: object) -> None:
    _record("logged_in", user)


def _logged_out(user: Any, **kwargs: object) -> None:
    _record("logged_out", user)


def _login_failed(credentials: Any, **kwargs: object) -> None:
    # Of all that was given, only the name: anything else may be a secret.
    name = getattr(get_user_model(), "USERNAME_FIELD", "username")
    given = credentials.get(name, credentials.get("username"))
    _record("login_failed", None, {} if given is None else {"username": str(given)[:_LONGEST]})


def _record(event: str, user: Any, details: dict[str, Any] | None = None) -> None:
    if configured.auth_events():
        is_saved = isinstance(user, models.Model) and user.pk is not None
        try_to_emit(event, user if is_saved else None, details)
