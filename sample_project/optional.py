"""Which optional parts of the sample project the environment can run."""

from __future__ import annotations

import importlib.util
from importlib import metadata

import django


def aldjemy_usable() -> bool:
    """aldjemy works with SQLAlchemy 1.4, Django 5 and psycopg2 only; psycopg 3 takes over when installed."""
    if django.VERSION >= (6,) or importlib.util.find_spec("psycopg"):
        return False
    if not all(map(importlib.util.find_spec, ("aldjemy", "sqlalchemy", "psycopg2"))):
        return False
    return int(metadata.version("sqlalchemy").split(".")[0]) < 2
