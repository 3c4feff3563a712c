"""A database of which Django makes the tables without migrations, as in many test suites."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.apps import apps
from django.core.management import call_command
from django.test import override_settings

from bemi_django.models import Change, SavedView
from sample_project.todos.models import Todo
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute, moved
from tests.support.roles import drop_database

NAME = "lab_unmigrated"

# The worker creates a slot, and the event triggers are made.
pytestmark = pytest.mark.administrator


class NoMigrations:
    """What pytest-django makes of ``--nomigrations``."""

    def __contains__(self, app: object) -> bool:
        return True

    def __getitem__(self, app: object) -> None:
        return None


@pytest.fixture
def empty(transactional_db: None) -> Iterator[None]:
    drop_database(NAME)
    execute(f"CREATE DATABASE {NAME}")
    try:
        with (
            moved(NAME=NAME),
            override_settings(MIGRATION_MODULES=NoMigrations(), BEMI_SLOT="bemi_unmigrated"),
        ):
            # Models of the tests need them.
            execute('CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE SCHEMA "other schema"')
            yield
    finally:
        drop_database(NAME)


def test_what_migrations_would_make_is_there(empty: None) -> None:
    call_command("migrate", run_syncdb=True, verbosity=0)
    # Once more, as for a database that is kept.
    call_command("migrate", "bemi_django", run_syncdb=True, verbosity=0)
    assert all(model._meta.managed for model in apps.get_app_config("bemi_django").get_models())
    pipeline = Pipeline.of_project("bemi_unmigrated")
    pipeline.run()
    Todo.objects.create(task="x")
    pipeline.run()
    assert [change.after["task"] for change in Change.objects.for_model(Todo)] == ["x"]
    assert SavedView.objects.count() == 0
    pipeline.drop()
