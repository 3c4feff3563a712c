from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

import bemi_django
from bemi_django import Bemi, bound_context, get_context


@pytest.fixture
def no_engine_hooked() -> Iterator[None]:
    yield
    from bemi_django.capture.hooks import every_engine

    every_engine.uninstall()


def test_all_is_sorted_and_complete() -> None:
    assert sorted(bemi_django.__all__) == bemi_django.__all__
    assert all(hasattr(bemi_django, name) for name in bemi_django.__all__)


def test_the_facade_sets_the_same_context(no_engine_hooked: None) -> None:
    with bound_context(replaced=True):
        Bemi.set_context({"process": "worker"})
        assert get_context() == {"process": "worker"}


@pytest.mark.parametrize(
    "module",
    [
        "bemi_django",
        "bemi_django.capture.hooks.every_engine",
        "bemi_django.capture.hooks.sqlalchemy_engine",
        "bemi_django.integrations.alembic",
        "bemi_django.integrations.celery",
        "bemi_django.integrations.fastapi",
        "bemi_django.integrations.sqlalchemy_changes",
    ],
)
def test_without_django_a_part_can_be_imported(module: str) -> None:
    run(f"import sys; sys.modules['django'] = None; import {module}")


def test_importing_the_package_needs_neither_django_nor_a_driver() -> None:
    code = "import sys, bemi_django; print({'django', 'psycopg2', 'sqlalchemy'} & set(sys.modules))"
    assert run(code).strip() == "set()"


def test_without_sqlalchemy_there_is_no_engine_to_hook() -> None:
    code = """
import sys
sys.modules["sqlalchemy"] = None
from bemi_django import Bemi, get_context
Bemi.set_context({"process": "worker"})
print(get_context())
"""
    assert run(code).strip() == "{'process': 'worker'}"


def run(code: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
