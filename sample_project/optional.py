"""The optional parts of the sample project that this environment can run."""

from __future__ import annotations

import importlib.util
from importlib import metadata

import django


def aldjemy_usable() -> bool:
    """Return whether aldjemy runs: it needs SQLAlchemy 1.4, Django before 6, and no psycopg 3."""
    if django.VERSION >= (6,) or importlib.util.find_spec("psycopg"):
        return False
    if not all(map(importlib.util.find_spec, ("aldjemy", "sqlalchemy", "psycopg2"))):
        return False
    return int(metadata.version("sqlalchemy").split(".")[0]) < 2
