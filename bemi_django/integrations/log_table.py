"""The name of the log for code that runs with Django or without it."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from bemi_django.integrations import pyproject
from bemi_django.wire import table_name
from bemi_django.wire.defaults import TABLE
from bemi_django.wire.table_name import TableName


def configured() -> TableName:
    """Return the name of the log: ``BEMI_TABLE`` of the Django settings if there are any.

    Otherwise the environment has it, or ``table`` in ``[tool.bemi]``, as for the command ``bemi``.

    Raises:
        ImproperlyConfigured: The setting of the Django project is not valid.
        ValueError: The file cannot be read, or the name is not valid.
    """
    if is_django_project():
        from bemi_django import conf

        return conf.table()
    value = os.environ.get("BEMI_TABLE")
    if value is None:
        value = pyproject.read(Path.cwd())[1].get("table", TABLE)
    try:
        return table_name.parse(value)
    except ValueError as error:
        raise ValueError(f"BEMI_TABLE is {value!r}: {error}") from None


def is_django_project() -> bool:
    """Return whether there are Django settings, or an environment that names some."""
    loaded = sys.modules.get("django.conf")
    if loaded is not None and loaded.settings.configured:
        return True
    return "DJANGO_SETTINGS_MODULE" in os.environ and importlib.util.find_spec("django") is not None
