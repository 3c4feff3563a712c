"""Who may import the bridge, and what it offers."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

NAME = "bemi_django.integrations.sqlalchemy"
sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")
IS_OLD = sqlalchemy.__version__.startswith("1.")


@pytest.mark.skipif(not IS_OLD, reason="needs SQLAlchemy 1.4")
def test_an_old_sqlalchemy_is_told_what_to_do() -> None:
    with pytest.raises(ImportError, match="needs SQLAlchemy 2, but 1.4.*use aldjemy"):
        importlib.import_module(NAME)


@pytest.mark.skipif(IS_OLD, reason="needs SQLAlchemy 2")
def test_all_is_sorted_and_complete() -> None:
    bridge = importlib.import_module(NAME)
    assert sorted(bridge.__all__) == bridge.__all__
    assert all(hasattr(bridge, name) for name in bridge.__all__)


@pytest.mark.skipif(IS_OLD, reason="needs SQLAlchemy 2")
def test_importing_it_needs_no_settings() -> None:
    code = f"import {NAME}; from django.conf import settings; print(settings.configured)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={})
    assert done.stdout.strip() == "False"
