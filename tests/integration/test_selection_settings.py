"""Settings and declarations of what is left out: what they mean, and what ``check`` says of wrong ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import models
from django.test.utils import isolate_apps

from bemi_django import checks, conf, selection, track
from bemi_django.declarations import _declared
from bemi_django.ingest.selection.configured import configured_selection
from sample_project.todos.models import Todo


def any_change(table: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    return True


def no_arguments() -> bool:
    return True


@pytest.fixture(autouse=True)
def declared() -> Iterator[None]:
    """Forget what the test declares."""
    before = dict(_declared)
    yield
    _declared.clear()
    _declared.update(before)


HERE = __name__
WRONG = {
    "a string": ({"BEMI_IGNORE_COLUMNS": "todo.task"}, "must be a list"),
    "no column": ({"BEMI_IGNORE_COLUMNS": ["todo"]}, "has 'todo': it must be table.column"),
    "too many parts": ({"BEMI_IGNORE_COLUMNS": ["a.b.c.d"]}, "has 'a.b.c.d'"),
    "no text": ({"BEMI_IGNORE_COLUMNS": [3]}, "has 3"),
    "a key": ({"BEMI_IGNORE_COLUMNS": ["todo.id"]}, "names a primary key of todos.Todo: *.todo.id"),
    "the key of a table in a schema": ({"BEMI_IGNORE_COLUMNS": ["public.todo.id"]}, "names a primary key"),
    "all keys": ({"BEMI_IGNORE_COLUMNS": ["*.id"]}, "names a primary key"),
    "conditions in a list": ({"BEMI_CONDITIONS": ["todo"]}, "must be {table: function}"),
    "a column": ({"BEMI_CONDITIONS": {"a.b.c": f"{HERE}.any_change"}}, "must be table or schema.table"),
    "no module": ({"BEMI_CONDITIONS": {"todo": "nowhere.at_all"}}, "cannot be imported: ModuleNotFoundError"),
    "no function": ({"BEMI_CONDITIONS": {"todo": f"{HERE}.HERE"}}, "is not a function"),
    "no arguments": ({"BEMI_CONDITIONS": {"todo": f"{HERE}.no_arguments"}}, "cannot be called with"),
}


@pytest.mark.parametrize(("values", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting_is_reported(settings: Any, values: dict[str, Any], message: str) -> None:
    for name, value in values.items():
        setattr(settings, name, value)
    found = [str(one) for one in checks.check_settings() if one.id == "bemi.E020"]
    assert found and message in found[0]


def test_right_settings_are_not_reported(settings: Any) -> None:
    settings.BEMI_IGNORE_COLUMNS = ["*.task", "todo.*", "public.todo.t?sk"]
    settings.BEMI_CONDITIONS = {"todo": f"{HERE}.any_change", "public.*": any_change}
    assert not [one for one in checks.check_settings() if one.id == "bemi.E020"]
    chosen = configured_selection()
    names = ("id", "task", "owner_id")
    found = chosen.of_table(("public", "todo"), ("public", "todo"), names, ("id",))
    assert found is not None and found.ignored == ("task", "owner_id")
    assert len(found.conditions) == 2 and not found.drops_unchanged


def test_a_wrong_setting_ends_the_worker_with_a_line(settings: Any, db: None) -> None:
    settings.BEMI_IGNORE_COLUMNS = ["todo"]
    with pytest.raises(CommandError, match=r"BEMI_IGNORE_COLUMNS has 'todo'"):
        call_command("bemi", "run")


def test_a_pattern_that_matches_nothing_is_reported(settings: Any, transactional_db: None) -> None:
    settings.BEMI_IGNORE_COLUMNS = ["todo.gone", "todo.*", "gone.*", "*.gone_?*"]
    settings.BEMI_CONDITIONS = {"gone": any_change, "todo": any_change}
    # A wildcard may be for a table to come; the last one is a partition.
    settings.BEMI_EXCLUDE = ["public.tag", "gone.*", '"public"."todo"', "_bemi.activity_operations"]
    found = [str(one) for one in checks.check_databases(["default"]) if one.id == "bemi.W020"]
    assert [one.partition(" in BEMI")[0].split()[-1] for one in found] == [
        "*.todo.gone",
        "*.gone.*",
        "*.*.gone_?*",
        "*.gone",
        '"public"."todo"',
        "_bemi.activity_operations",
    ]


def test_a_model_whose_table_is_not_made_yet_is_no_wrong_setting(
    settings: Any, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BEMI_IGNORE_COLUMNS = []
    track(ignore=["task"], condition=any_change)(Todo)
    monkeypatch.setattr(Todo._meta, "db_table", "not_made_yet")
    assert [one for one in checks.check_databases(["default"]) if one.id == "bemi.W020"] == []


def test_a_model_declares_what_the_settings_say(settings: Any) -> None:
    settings.BEMI_IGNORE_COLUMNS = []
    declare: Any = track(ignore=["task", "owner"], condition=any_change, exclude=True)
    assert declare(Todo) is Todo
    assert [tuple(pattern) for pattern in selection.ignored_columns()] == [
        ("*", "todo", "task"),
        ("*", "todo", "owner_id"),
    ]
    assert [(tuple(table), function) for table, _, function in selection.conditions()] == [
        (("*", "todo"), any_change)
    ]
    assert "*.todo" in conf.exclude() and "*.django_session" in conf.exclude()
    # The last declaration of a model is the one that counts.
    track()(Todo)
    assert selection.ignored_columns() == [] and "*.todo" not in conf.exclude()


def test_wrong_declarations_are_reported() -> None:
    track(ignore=["nothing", "id"])(Todo)
    found = [str(one) for one in checks.check_settings() if one.id == "bemi.E020"]
    assert "'nothing', which is no field" in found[0] and "'id', which is part of a" in found[1]

    class Base(models.Model):
        class Meta:
            abstract = True
            app_label = "todos"

    with isolate_apps("sample_project.todos"):

        class Proxy(Todo):
            class Meta:
                proxy = True
                app_label = "todos"

    for arguments, decorated, message in (
        ({}, Base, "has no table"),
        ({}, object, "has no table"),
        ({"exclude": True}, Proxy, "is a proxy and has the table of Todo: decorate Todo"),
        ({"ignore": "task"}, Todo, "give a list"),
        ({"condition": "path"}, Todo, "give a function"),
    ):
        with pytest.raises(TypeError, match=message):
            track(**arguments)(decorated)


def test_excluded_tables_add_to_the_default_ones(settings: Any) -> None:
    settings.BEMI_EXCLUDE = ["shop.*"]
    settings.BEMI_INCLUDE = ["public.*", "public.django_session"]
    assert conf.exclude() == ["shop.*", "*.alembic_version", "*.django_migrations"]


def test_an_unreadable_setting_is_known_to_the_check_of_names(settings: Any, transactional_db: None) -> None:
    settings.BEMI_IGNORE_COLUMNS = 7
    assert "bemi.W020" not in {one.id for one in checks.check_databases(["default"])}
    with pytest.raises(ImproperlyConfigured):
        selection.ignored_columns()
