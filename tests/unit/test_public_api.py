from __future__ import annotations

import subprocess
import sys

import bemi_django
from bemi_django import Bemi, bound_context, get_context


def test_all_is_sorted_and_complete() -> None:
    assert sorted(bemi_django.__all__) == bemi_django.__all__
    assert all(hasattr(bemi_django, name) for name in bemi_django.__all__)


def test_the_facade_sets_the_same_context() -> None:
    with bound_context(replaced=True):
        Bemi.set_context({"process": "worker"})
        assert get_context() == {"process": "worker"}


def test_importing_the_package_needs_neither_django_nor_a_driver() -> None:
    code = "import sys, bemi_django; print({'django', 'psycopg2', 'sqlalchemy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
