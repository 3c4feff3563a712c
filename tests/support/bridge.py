"""The bridge to SQLAlchemy 2; importing this module skips a test module with SQLAlchemy 1.4."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

sqlalchemy: Any = pytest.importorskip(
    "sqlalchemy", minversion="2.0.0", reason="the bridge needs SQLAlchemy 2"
)
bridge: Any = importlib.import_module("bemi_django.integrations.sqlalchemy")
