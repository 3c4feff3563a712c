"""The helpers for tests of projects, as a project uses them."""

from __future__ import annotations

import subprocess
import sys
import unittest
from decimal import Decimal
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import MiddlewareNotUsed
from django.core.management import BaseCommand, call_command
from django.db import connection, connections, transaction
from django.test import TestCase, TransactionTestCase

from bemi_django import bound_context
from bemi_django.exceptions import BemiError, NotInTransaction
from bemi_django.middleware import BemiMiddleware
from bemi_django.schema import tracking
from bemi_django.testing import ChangesMixin, RecordedChanges, assert_changes, captured_writes
from sample_project import todos
from sample_project.todos.models import Tag, Todo
from tests.shop.models import Category
from tests.support.pages import blocks
from tests.support.paths import ROOT
from tests.support.project_database import execute

pytest_plugins = ["bemi_django.testing.fixtures"]

SLOTS = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
# Django's role, as which the helpers record, has to have REPLICATION.
records = pytest.mark.administrator


@records
class TestsThatCommit(ChangesMixin, TransactionTestCase):
    def test_the_changes_of_a_block_are_asserted(self) -> None:
        todo = Todo.objects.create(task="before the block")
        with (
            self.assert_changes(
                ("CREATE", Category, {"name": "a"}),
                ("UPDATE", Todo, {"id": todo.pk, "task": "b"}),
                ("DELETE", Category, {"name": "a"}),
                context={"user_id": 7},
            ),
            bound_context(user_id=7),
        ):
            category = Category.objects.create(name="a")
            Todo.objects.filter(pk=todo.pk).update(task="b")
            with transaction.atomic():
                category.delete()
        assert execute(SLOTS) == [(0,)]

    def test_what_differs_is_printed(self) -> None:
        with pytest.raises(AssertionError) as raised, self.assert_changes(("CREATE", Todo, {"task": "b"})):
            Todo.objects.create(task="a")
        first, *lines = str(raised.value).splitlines()
        assert first == "other changes were recorded than expected"
        assert lines[:3] == ["expected:", "  CREATE todos.Todo {'task': 'b'}", "recorded:"]
        assert lines[3].startswith("  CREATE public.todo {") and "'task': 'a'" in lines[3]
        assert execute(SLOTS) == [(0,)]

    def test_a_context_that_differs_is_printed(self) -> None:
        with (
            pytest.raises(AssertionError, match=r"not \{'user_id': 8\}"),
            self.assert_changes(("CREATE", Todo), context={"user_id": 8}),
            bound_context(user_id=7),
        ):
            Todo.objects.create(task="a")


class TestsThatAreRolledBack(ChangesMixin, TestCase):
    def test_the_writes_of_a_block_have_their_context(self) -> None:
        with bound_context(user_id=7, note="it's */ 100%"), self.captured_writes() as writes:
            Todo.objects.create(task="a")
            Todo.objects.count()
            with connection.cursor() as cursor:
                cursor.execute(b"UPDATE todo SET task = 'b'")  # type: ignore[arg-type]
        assert [write.sql.split()[0] for write in writes] == ["INSERT", "UPDATE"]
        assert [write.context for write in writes] == [{"user_id": 7, "note": "it's */ 100%"}] * 2

    def test_recording_needs_a_commit(self) -> None:
        with pytest.raises(NotInTransaction, match="TransactionTestCase"), self.assert_changes():
            pass


@records
@pytest.mark.parametrize(
    ("expected", "fits"),
    [
        ([], False),
        ([("CREATE", Todo)], True),
        ([("CREATE", Todo, {"task": "a", "is_completed": False})], True),
        ([("UPDATE", Todo)], False),
        ([("CREATE", Tag)], False),
        ([("CREATE", Todo), ("CREATE", Todo)], False),
        ([("CREATE", Todo, {"nothing": None})], False),
        ([("CREATE", Todo, {"id": Decimal(-1)})], False),
    ],
)
def test_all_changes_are_expected_and_all_that_are_expected_are_there(
    expected: Any, fits: bool, transactional_db: None
) -> None:
    Todo.objects.create(task="earlier")
    try:
        with assert_changes(*expected):
            Todo.objects.create(task="a")
    except AssertionError:
        assert not fits
    else:
        assert fits


@records
def test_an_error_of_the_block_is_the_one_that_is_raised(transactional_db: None) -> None:
    with pytest.raises(ZeroDivisionError), assert_changes(("CREATE", Todo)):
        raise ZeroDivisionError
    assert execute(SLOTS) == [(0,)]


@records
def test_the_fixture_records_what_the_test_commits(recorded_changes: RecordedChanges) -> None:
    assert list(recorded_changes.changes()) == []
    todo = Todo.objects.create(task="a")
    assert recorded_changes.changes().for_object(todo).get().operation == "CREATE"
    todo.delete()
    assert [change.operation for change in recorded_changes.changes()] == ["CREATE", "DELETE"]


@records
@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_each_database_has_its_changes_and_one_of_them_the_log(settings: Any) -> None:
    settings.DATABASE_ROUTERS = ["bemi_django.routers.BemiRouter"]
    with assert_changes(("CREATE", Todo, {"task": "there"}), using="other"), assert_changes():
        Todo.objects.using("other").create(task="there")
    # As serialized_rollback does.
    kept = connections["other"].creation.serialize_db_to_string()
    assert '"there"' in kept and "bemi_django.change" not in kept


@pytest.mark.django_db
def test_what_fails_is_among_the_writes() -> None:
    with captured_writes() as writes, pytest.raises(Exception, match="null value"), transaction.atomic():
        execute("INSERT INTO todo (task) VALUES (NULL)")
    assert [write.sql for write in writes] == ["INSERT INTO todo (task) VALUES (NULL)"]


def test_capture_can_be_turned_off(settings: Any) -> None:
    settings.BEMI_CAPTURE = False
    with pytest.raises(MiddlewareNotUsed):
        BemiMiddleware(lambda request: None)
    for block in (captured_writes(), assert_changes(context={"user_id": 7})):
        with pytest.raises(BemiError, match="no context is attached, because BEMI_CAPTURE is False"), block:
            pass


@pytest.mark.django_db
def test_the_runner_of_the_tests_is_not_in_their_context() -> None:
    class Command(BaseCommand):
        __module__ = "django.core.management.commands.test"

        def handle(self, *args: Any, **options: Any) -> None:
            Todo.objects.create(task="a")

    with captured_writes() as writes:
        call_command(Command())
    assert [write.context for write in writes] == [{}]


def test_the_database_of_tests_without_capture_needs_no_tracked_table(
    settings: Any, transactional_db: None
) -> None:
    execute("ALTER PUBLICATION bemi DROP TABLE todo")
    try:
        assert "bemi.W004" in {found.id for found in run_checks(databases=["default"])}
        settings.BEMI_CAPTURE = False
        assert run_checks(databases=["default"]) == []
    finally:
        settings.BEMI_CAPTURE = True
        tracking.sync()


@records
def test_the_examples_of_the_page_work(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "todos", todos)
    monkeypatch.setitem(sys.modules, "todos.models", todos.models)
    names: dict[str, Any] = {"__name__": "examples"}
    for number, block in enumerate(blocks("python", "testing")):
        exec(compile(block, f"docs/testing.md, example {number + 1}", "exec"), names)
    result = unittest.TestResult()
    for name in ("CompleteTests", "ContextTests"):
        unittest.defaultTestLoader.loadTestsFromTestCase(names[name]).run(result)
    assert (result.testsRun, result.errors, result.failures) == (2, [], [])
    with RecordedChanges() as recorded:
        names["test_a_todo_is_deleted"](recorded)


WITHOUT_CAPTURE = """
import django
from django.conf import settings
settings.BEMI_CAPTURE = False
django.setup()
from django.core.management import BaseCommand
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate
assert not hasattr(BaseCommand.execute, "_bemi_wraps")
for signal in (connection_created, post_migrate):
    assert [key for (key, *_), *_ in signal.receivers if key == "bemi_django"] == []
"""


def test_without_capture_no_hook_is_installed() -> None:
    nowhere = "postgres://u@h/d"
    environment = {"DATABASE_URL": nowhere, "LOG_URL": nowhere, "SLOT": "s", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_CAPTURE],
        cwd=ROOT,
        env={**environment, "DJANGO_SETTINGS_MODULE": "tests.support.command_settings"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
