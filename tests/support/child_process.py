"""What a program writes in processes and interpreters that it starts."""

from __future__ import annotations

import sys

from tests.support.paths import ROOT

_CODE = """
import sys
sys.path[:0] = {path!r}
from tests.support.child_process import write
write("interpreter")
"""


def write(task: str) -> None:
    """Write a row whose context is its task, with Django set up if it is not."""
    import django

    django.setup()
    from django.db import connection

    from bemi_django import bound_context
    from sample_project.todos.models import Todo

    Todo.objects.create(task=f"bare {task}")
    with bound_context(job=task):
        Todo.objects.create(task=task)
    connection.close()


def write_in_interpreter() -> None:
    """Do so in an interpreter beside that of the program, as servers have one for each site."""
    code = _CODE.format(path=[str(ROOT), *sys.path])
    if sys.version_info >= (3, 13):
        import _interpreters

        failure = _interpreters.exec(_interpreters.create("legacy"), code)
        assert failure is None, failure
    else:
        import _xxsubinterpreters  # type: ignore[import-not-found]

        _xxsubinterpreters.run_string(_xxsubinterpreters.create(isolated=False), code)
