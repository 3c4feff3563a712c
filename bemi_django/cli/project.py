"""Configure Django for a project that does not use it."""

from __future__ import annotations

import getpass
import os
import re
import sys
from typing import Any

import django
import psycopg2
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from psycopg2.extensions import parse_dsn

from bemi_django.cli.configuration import Configuration

_LOG = "log"
_DRIVER = re.compile(r"^(?P<scheme>postgres(?:ql)?)\+\w+://")
_NAMES = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}


def configure(configuration: Configuration) -> None:
    """Configure Django and load the app.

    Args:
        configuration: If it names a settings module, the module is used.

    Raises:
        SystemExit: If a connection string is not valid, or the project cannot be loaded.
    """
    if configuration.django_settings:
        sys.path.insert(0, os.getcwd())
        _set_up(configuration.django_settings)
        return
    databases = {"default": database_of(configuration.source)}
    values = {f"BEMI_{name.upper()}": value for name, value in configuration.settings.items()}
    if configuration.destination:
        databases[_LOG] = database_of(configuration.destination)
        values |= {"BEMI_DESTINATION": _LOG, "DATABASE_ROUTERS": ["bemi_django.routers.BemiRouter"]}
    settings.configure(
        DATABASES=databases,
        INSTALLED_APPS=["bemi_django"],
        USE_TZ=True,
        # There are no requests, so no middleware is missing.
        SILENCED_SYSTEM_CHECKS=["bemi.W001"],
        **values,
    )
    django.setup()


def _set_up(module: str) -> None:
    """Load a Django project.

    Raises:
        SystemExit: There is no such module, or it does not have the app.
    """
    try:
        django.setup()
    except ModuleNotFoundError as error:
        # What the project itself imports and does not find is another matter.
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        sys.exit(
            f"bemi: there is no module {error.name!r}: correct DJANGO_SETTINGS_MODULE, which is {module!r}, "
            "and run bemi in the directory of the project; or give --source"
        )
    except ImproperlyConfigured as error:
        sys.exit(f"bemi: {error} (DJANGO_SETTINGS_MODULE is {module!r})")
    if not apps.is_installed("bemi_django"):
        sys.exit(f"bemi: add 'bemi_django' to INSTALLED_APPS of {module!r}, or give --source")


def database_of(text: str) -> dict[str, Any]:
    """Return the entry of ``DATABASES`` for a connection string.

    Args:
        text: A URI or key/value string of libpq ("Connection Strings"), or a URL of SQLAlchemy, which names a
            driver.

    Returns:
        The entry. What Django has no name for is in ``OPTIONS``.

    Raises:
        SystemExit: If the string is not valid.
    """
    try:
        parts = parse_dsn(_DRIVER.sub(r"\g<scheme>://", text)) if text else {}
    except psycopg2.ProgrammingError as error:
        # Other messages of libpq quote the string, and the password in it.
        unknown = re.search(r'invalid (URI query parameter|connection option)[: ]+"\w+"', str(error))
        sys.exit(
            f"bemi: the connection string is not valid{f' ({unknown[0]})' if unknown else ''}: use "
            "postgresql://user@host:port/database, or key=value pairs as libpq does"
        )
    found: dict[str, Any] = {"ENGINE": "django.db.backends.postgresql"}
    found |= {name: parts.pop(key) for key, name in _NAMES.items() if key in parts}
    if "service" not in parts and "NAME" not in found:
        found["NAME"] = os.environ.get("PGDATABASE") or found.get("USER") or _default_user()
    return {**found, "OPTIONS": parts}


def _default_user() -> str:
    if user := os.environ.get("PGUSER"):
        return user
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # The operating system has no name for this user, as in many containers.
        sys.exit("bemi: the connection string names no database and no user: add them")
