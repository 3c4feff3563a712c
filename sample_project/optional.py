"""Which optional parts of the sample project the environment can run."""

from __future__ import annotations

import importlib.util
from importlib import metadata

import django


def aldjemy_usable() -> bool:
    """aldjemy needs SQLAlchemy 1.4, Django before 6, and psycopg2 alone: psycopg 3 would take over."""
    if django.VERSION >= (6,) or importlib.util.find_spec("psycopg"):
        return False
    if not all(map(importlib.util.find_spec, ("aldjemy", "sqlalchemy", "psycopg2"))):
        return False
    return int(metadata.version("sqlalchemy").split(".")[0]) < 2
