"""Checks of the settings and of the installed packages."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib import metadata
from os import PathLike
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.utils.module_loading import import_string

from bemi_django import conf
from bemi_django.capture.functions import accepts, is_async
from bemi_django.capture.proxies import TrustedProxies
from bemi_django.checks.alerts import check_alerts
from bemi_django.checks.destinations import check_destinations
from bemi_django.checks.masks import check_masks
from bemi_django.checks.seals import check_seals
from bemi_django.checks.selection import check_rules
from bemi_django.checks.signing import check_keys
from bemi_django.checks.sinks import check_sink
from bemi_django.checks.site_past import check_site_past
from bemi_django.checks.types import check_types
from bemi_django.middleware import BemiMiddleware
from bemi_django.retention import configured
from bemi_django.retention.periods import parse, time_of_day


@register()
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Check the settings and the installed packages.

    Args:
        kwargs: What Django passes to every check.

    Returns:
        The errors and warnings found.
    """
    if found := check_types():
        # The others would fail.
        return found
    found = _check_function("BEMI_CONTEXT_FUNCTION", conf.context_function, "request")
    found += _check_function("BEMI_ADMIN_SCOPE", _scope, "request, changes")
    found += _check_async() if not found else []
    found += _check_proxies() + _check_table() + _check_bookkeeping() + _check_archive()
    found += _check_retention() + check_masks() + check_seals() + check_keys() + _check_events()
    found += check_site_past() + check_alerts() + check_destinations() + check_sink()
    if importlib.util.find_spec("psycopg2") is None:
        found.append(
            Error("psycopg2 is not installed.", hint="Run pip install psycopg2-binary.", id="bemi.E002")
        )
    if not any(_is_ours(path) for path in settings.MIDDLEWARE):
        hint = "Add 'bemi_django.middleware.BemiMiddleware' to MIDDLEWARE, after AuthenticationMiddleware."
        found.append(
            Warning(
                "Writes of requests have no context: BemiMiddleware is missing.", hint=hint, id="bemi.W001"
            )
        )
    return found + check_rules() + _check_router() + _check_aldjemy()


def _scope() -> Any:
    """Return the function that limits what a user sees, or None if there is none to call."""
    found = conf.admin_scope()
    return None if found == "models" else found


def _check_events() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for setting in ("BEMI_AUTH_EVENTS", "BEMI_ADMIN_EVENTS"):
        value = getattr(settings, setting, False)
        if not isinstance(value, bool):
            found.append(Error(f"{setting} is {value!r}.", hint="Set it to True or False.", id="bemi.E024"))
        elif value and setting == "BEMI_AUTH_EVENTS" and not apps.is_installed("django.contrib.auth"):
            hint = "Add 'django.contrib.auth' to INSTALLED_APPS, whose signals it needs."
            found.append(Error(f"{setting} has no effect.", hint=hint, id="bemi.E024"))
    return found


def _check_function(setting: str, load: Callable[[], Any], arguments: str) -> list[CheckMessage]:
    try:
        function = load()
    # Importing a module runs it, which may fail in any way.
    except Exception as error:
        reason = f"cannot be imported: {type(error).__name__}: {error}"
    else:
        if function is None or (callable(function) and accepts(function, len(arguments.split()))):
            return []
        reason = f"cannot be called with ({arguments})" if callable(function) else "is not a function"
    hint = f"Set {setting} to the dotted path of a function with the arguments ({arguments})."
    return [Error(f"{setting} {reason}.", hint=hint, id="bemi.E001")]


def _check_async() -> list[CheckMessage]:
    function = conf.context_function()
    if function is None or not is_async(function):
        return []
    if settings.WSGI_APPLICATION:
        reason = "WSGI_APPLICATION is set"
    elif behind := _sync_middleware_behind_ours():
        reason = f"{behind}, which follows BemiMiddleware, is sync-only"
    else:
        return []
    message = f"BEMI_CONTEXT_FUNCTION is async, which sync requests cannot await: {reason}."
    hint = "Define it without async, or serve the project by ASGI only."
    return [Error(message, hint=hint, id="bemi.E005")]


def _sync_middleware_behind_ours() -> str | None:
    paths = list(settings.MIDDLEWARE)
    ours = next((number for number, path in enumerate(paths) if _is_ours(path)), len(paths))
    for path in paths[ours + 1 :]:
        try:
            is_async_capable = getattr(import_string(path), "async_capable", False)
        except ImportError:
            # Django itself reports it.
            continue
        if not is_async_capable:
            return path
    return None


def _check_proxies() -> list[CheckMessage]:
    try:
        trusted = TrustedProxies.of(conf.trusted_proxies())
    except (TypeError, ValueError) as error:
        hint = "Set BEMI_TRUSTED_PROXIES to the number of proxies, or to a list of networks: ['10.0.0.0/8']."
        return [Error(f"BEMI_TRUSTED_PROXIES is invalid: {error}", hint=hint, id="bemi.E004")]
    if not conf.trust_request_id() or trusted not in (None, TrustedProxies()):
        return []
    message = "BEMI_TRUST_REQUEST_ID has no effect: BEMI_TRUSTED_PROXIES names no proxy to trust."
    hint = "Set BEMI_TRUSTED_PROXIES to the proxies that set X-Request-ID."
    return [Error(message, hint=hint, id="bemi.E006")]


def _check_table() -> list[CheckMessage]:
    try:
        conf.table()
    except ImproperlyConfigured as error:
        hint = "Set BEMI_TABLE to 'name' or 'schema.name', or remove it: the log is then called 'changes'."
        return [Error(f"{error}.", hint=hint, id="bemi.E007")]
    return []


def _check_bookkeeping() -> list[CheckMessage]:
    given = getattr(settings, "BEMI_BOOKKEEPING_TABLES", [])
    if isinstance(given, (list, tuple, set)) and all(isinstance(one, str) and "." in one for one in given):
        return []
    message = "BEMI_BOOKKEEPING_TABLES is not a list of patterns schema.table."
    hint = "Set it to a list such as ['*.django_admin_log', 'public.audit'], or remove it."
    return [Error(message, hint=hint, id="bemi.E013")]


def _check_archive() -> list[CheckMessage]:
    value = getattr(settings, "BEMI_ARCHIVE", None)
    if not value:
        return []
    if not isinstance(value, (str, PathLike)):
        message = (
            f"BEMI_ARCHIVE is of the type {type(value).__name__}: it is neither a directory nor an address."
        )
        hint = "Set it to a directory or to an address such as 's3://bucket/folder', or remove it."
    elif importlib.util.find_spec("pyarrow") is None:
        message = "BEMI_ARCHIVE is set, but pyarrow is not installed."
        hint = "Run pip install 'bemi-django-wal[archive]'."
    else:
        return []
    return [Error(message, hint=hint, id="bemi.E015")]


def _check_retention() -> list[CheckMessage]:
    hint = "Correct the setting: nothing is removed from the log until then."
    try:
        parse(configured.retention(), configured.legal_hold())
        time_of_day(configured.prune_at())
    except ValueError as error:
        return [Error(f"{error}.", hint=hint, id="bemi.E016")]
    return []


def _is_ours(path: str) -> bool:
    try:
        middleware = import_string(path)
    except ImportError:
        return False
    return isinstance(middleware, type) and issubclass(middleware, BemiMiddleware)


def _check_router() -> list[CheckMessage]:
    from bemi_django.models import Change

    written = router.db_for_write(Change)
    if written == conf.destination():
        return []
    message = f"BEMI_DESTINATION is {conf.destination()!r} but Change is routed to {written!r}."
    hint = (
        f"Set BEMI_DESTINATION to {written!r}, if the log is to be there; or add "
        "'bemi_django.routers.BemiRouter' to DATABASE_ROUTERS, before other routers."
    )
    return [Error(message, hint=hint, id="bemi.E003")]


def _check_aldjemy() -> list[CheckMessage]:
    if not apps.is_installed("aldjemy"):
        return []
    bridge = "or replace aldjemy by bemi_django.integrations.sqlalchemy, which works with SQLAlchemy 2."
    found = []
    if not metadata.version("sqlalchemy").startswith(("0.", "1.")):
        found.append(("aldjemy cannot query with SQLAlchemy 2", f"Run pip install 'sqlalchemy<2', {bridge}"))
    if importlib.util.find_spec("psycopg") is not None:
        # Django prefers psycopg 3 if both are installed.
        hint = f"Uninstall psycopg, so that Django uses psycopg2, {bridge}"
        found.append(("aldjemy's session needs psycopg2, but Django uses psycopg 3", hint))
    return [Warning(f"{message}.", hint=hint, id="bemi.W007") for message, hint in found]
