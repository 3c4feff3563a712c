"""More than one database: each is captured; the log may live in another one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from bemi_django import bound_context, conf
from bemi_django.log.blame import blame
from bemi_django.models import Change
from bemi_django.schema import tracking
from sample_project.todos.models import Tag, Todo
from tests.support.paths import ROOT
from tests.support.pipeline import Pipeline

both = pytest.mark.django_db(transaction=True, databases=["default", "other"])

SQLITE = """
import os, django
from django.conf import settings
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "bemi_django"],
    MIDDLEWARE=["bemi_django.middleware.BemiMiddleware"],
)
django.setup()
from django.core.management import call_command
from django.contrib.auth.models import Group
from django.db import transaction
from bemi_django import apply_context, bound_context
from bemi_django.schema import tracking
call_command("check", databases=["default"])
call_command("migrate", verbosity=0)
with bound_context(user_id=7), transaction.atomic():
    apply_context()
    Group.objects.create(name="x")
assert tracking.sync().done == []
call_command("bemi", "sync")
call_command("bemi", "run")
call_command("migrate", "bemi_django", "zero", verbosity=0)
"""


def run(alias: str, slot: str) -> None:
    Pipeline.of_project(slot, alias).run()


@both
def test_another_database_is_captured_with_its_context_and_its_name() -> None:
    run("other", "bemi_databases")
    with bound_context(user_id=7):
        Todo.objects.using("other").create(task="x")
        Todo.objects.create(task="not in this slot")
    run("other", "bemi_databases")
    Pipeline.of_project("bemi_databases", "other").drop()
    (change,) = Change.objects.filter(table="todo")
    assert (change.database, change.after["task"]) == (connections["other"].settings_dict["NAME"], "x")
    assert change.context["user_id"] == 7


def migrate_both(*arguments: str) -> None:
    for alias in ("default", "other"):
        call_command("migrate", *arguments, database=alias, verbosity=0)


@pytest.fixture
def log_in_other(settings: Any, transactional_db: None) -> Iterator[None]:
    migrate_both("bemi_django", "zero")
    settings.DATABASE_ROUTERS = ["bemi_django.routers.BemiRouter"]
    settings.BEMI_DESTINATION = "other"
    migrate_both()
    yield
    # A log with rows stays.
    Change.objects.all().delete()
    migrate_both("bemi_django", "zero")
    settings.BEMI_DESTINATION = "default"
    migrate_both()


@pytest.mark.administrator
@both
def test_the_log_may_live_in_another_database(log_in_other: None) -> None:
    def relation(alias: str, name: str) -> str | None:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s)::text", [name])
            found: str | None = cursor.fetchone()[0]
            return found

    assert relation("default", "changes") is None and relation("other", "changes") == "changes"
    assert relation("other", "_bemi.tracking") is None
    run("default", "bemi_databases")
    Todo.objects.create(task="x")
    run("default", "bemi_databases")
    Pipeline.of_project("bemi_databases").drop()
    (change,) = Change.objects.filter(table="todo")
    assert change.after["task"] == "x"
    assert Change.objects.db == "other"
    assert tracking.sync("default").done == []


def test_on_another_kind_of_database_nothing_happens() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SQLITE],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("nothing to do: no changes of default are recorded") == 2


def test_slots_of_other_databases_have_names_of_their_own(settings: Any) -> None:
    settings.BEMI_SLOT = "audit"
    assert (conf.slot(), conf.slot("Other-1")) == ("audit", "audit_other_1")


@both
def test_questions_and_reverts_go_to_the_database_of_the_rows(settings: Any) -> None:
    settings.DATABASE_ROUTERS = ["bemi_django.routers.BemiRouter"]
    run("other", "bemi_databases")
    here = Todo.objects.create(task="here")
    there = Todo.objects.using("other").create(pk=here.pk, task="there")
    Todo.objects.using("other").update(task="changed")
    run("other", "bemi_databases")
    Pipeline.of_project("bemi_databases", "other").drop()
    assert not Change.objects.for_object(here).exists() and not blame(here)
    changes = Change.objects.for_object(there)
    assert list(changes) == list(Change.objects.for_model(Todo, "other"))
    updated = changes.updated().get()
    assert updated.object == there and updated.as_instance("before")._state.db == "other"
    assert blame(there)["task"].change == updated
    updated.revert()
    assert Todo.objects.using("other").get().task == "there"
    assert Todo.objects.get().task == "here"


@pytest.mark.administrator
@both
def test_a_revert_reads_a_log_that_lives_elsewhere(log_in_other: None) -> None:
    run("default", "bemi_databases")
    todo = Todo.objects.create(task="x")
    todo.tags.add(Tag.objects.create(name="a"))
    todo.delete()
    run("default", "bemi_databases")
    Pipeline.of_project("bemi_databases").drop()
    Change.objects.for_model(Todo).deleted().get().revert()
    assert [tag.name for tag in Todo.objects.get().tags.all()] == ["a"]
