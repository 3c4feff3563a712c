"""From the log's keys to the project's rows, and what the pages do where something is missing."""

from __future__ import annotations

import datetime
import re
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.contrib import admin
from django.db import OperationalError, models
from django.test import Client, RequestFactory
from django.utils import timezone

from bemi_django import checks, conf
from bemi_django.admin import HistoryMixin
from bemi_django.admin.access.logged_models import LoggedModels, parse_key
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display import actors
from bemi_django.admin.pages.health import health_page, health_tables
from bemi_django.exceptions import NotInstalled
from bemi_django.log import keys
from bemi_django.log.keys import key_of
from bemi_django.schema import tracking
from bemi_django.status.worker_status import LogEnd, lag_seconds
from sample_project.todos.models import Todo
from tests.support.audit import LIST, record
from tests.support.paths import ROOT

PAGE = (ROOT / "docs/admin.md").read_text()


def field_of(kind: type[models.Field[Any, Any]]) -> Any:
    """A model whose primary key is of a kind, as far as keys need one."""
    field = kind(primary_key=True)
    field.set_attributes_from_name("id")
    return _model(field)


def _model(*fields: Any) -> Any:
    options = {"pk": fields[0], "pk_fields": list(fields), "local_concrete_fields": list(fields)}
    return SimpleNamespace(_meta=SimpleNamespace(**options, concrete_model=None))


@pytest.fixture
def no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """No database has a table of the models."""
    monkeypatch.setattr(keys, "_columns", lambda model, alias: None)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (models.IntegerField, "42", 42),
        (models.BooleanField, "t", True),
        (models.BooleanField, "f", False),
        (models.BinaryField, "\\x0aff", b"\x0a\xff"),
        (models.UUIDField, "00000000-0000-0000-0000-00000000002a", UUID(int=42)),
        (models.CharField, "t", "t"),
        (models.DateField, "2026-01-02", datetime.date(2026, 1, 2)),
        (models.IntegerField, "x", None),
        (models.UUIDField, "x", None),
        (models.BinaryField, "\\xz", None),
    ],
)
def test_a_key_is_read_as_its_field_has_it(kind: Any, text: str, value: object, no_table: None) -> None:
    assert parse_key(field_of(kind), text) == value


def test_a_key_of_several_columns_is_read_part_by_part(no_table: None) -> None:
    one, two = field_of(models.IntegerField)._meta.pk, field_of(models.CharField)._meta.pk
    two.column = "other"
    model = _model(one, two)
    assert parse_key(model, '[1, "a"]') == (1, "a")
    for text in ("[1]", "1", "not json"):
        assert parse_key(model, text) is None
    assert parse_key(model, None) is None


def test_a_key_of_the_log_finds_its_row_again(db: None) -> None:
    todo = Todo.objects.create(task="Sleep")
    assert parse_key(Todo, key_of(todo)) == todo.pk


def test_a_table_is_a_model_s_only_in_its_schema(db: None) -> None:
    tables = LoggedModels()
    assert tables.model_of(record(1)) is not None
    assert tables.model_of(record(2, schema="elsewhere")) is None
    assert tables.model_of(record(3, database="elsewhere")) is None


@pytest.mark.parametrize(
    ("context", "who", "where"),
    [
        # What already stands for who it was is not said twice.
        ({"task": "shop.send"}, "shop.send", ""),
        ({"command": "import"}, "import", ""),
        ({"process": "Worker"}, "Worker", ""),
        ({"process": "Worker", "task": "shop.send"}, "Worker", "shop.send"),
        ({"user_id": "no number", "task": "shop.send"}, "user no number", "shop.send"),
        ({"user_id": "no number", "endpoint": "/a/"}, "user no number", "/a/"),
        ({}, "", ""),
    ],
)
def test_who_and_where_are_what_the_context_has(
    rf: RequestFactory, admin_user: Any, context: Any, who: str, where: str
) -> None:
    request = rf.get("/")
    request.user = admin_user
    change = record(1, context=context)
    viewer = Viewer(request, admin.site)
    assert actors.Actors([change], viewer).actor_of(change).label == who
    assert actors.where(change, viewer) == where


def test_a_database_that_does_not_answer_is_said(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OperationalError("the server is away\nDETAIL: far")

    monkeypatch.setattr(health_page, "source_facts", refuse)
    monkeypatch.setattr(checks, "check_databases", refuse)
    monkeypatch.setattr(conf, "is_source", lambda alias: alias == "default")
    (source,) = admin_client.get(f"{LIST}health/").context["sources"]
    assert [(fact.value, fact.hint) for fact in source.facts] == [("not reachable", "the server is away")]


@pytest.mark.parametrize(
    ("is_running", "behind", "least"), [(True, 0, 0), (True, 500, 2), (False, 500, 50), (False, 0, 0)]
)
def test_the_lag_in_seconds_is_that_of_the_last_change_or_since_the_worker_went(
    db: None, is_running: bool, behind: int, least: int
) -> None:
    now = timezone.now()
    record(1, committed_at=now, created_at=now + datetime.timedelta(seconds=3))
    log_end = LogEnd(change_age=60.0, age=60.0, system_identifier="1", trouble="", counters={})
    found = lag_seconds(log_end, behind, is_running=is_running)
    assert least <= found < (least + 60 if least else 1)


def test_an_installation_without_tables_of_ours_says_what_to_run(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*arguments: object) -> None:
        raise NotInstalled

    monkeypatch.setattr(tracking, "plan", missing)
    (table,) = health_tables.table_health("other")
    assert table.command == "python manage.py migrate --database other"


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_examples_of_the_page_work(
    db: None, rf: RequestFactory, django_user_model: Any, settings: Any
) -> None:
    setting, scope, mixin, *_ = blocks()
    names: dict[str, Any] = {"Todo": Todo}
    exec(setting + scope, names)
    record(1), record(2, table="auth_user")
    request = rf.get("/")
    request.user = django_user_model(is_superuser=False)
    changes = names["scope"](request, record(3).__class__.objects.all())
    assert sorted(change.table for change in changes) == ["todo", "todo"]
    registered = admin.site._registry.pop(Todo)
    try:
        exec(mixin, names)
        assert isinstance(admin.site._registry[Todo], HistoryMixin)
    finally:
        admin.site._registry[Todo] = registered


def test_the_page_names_every_permission() -> None:
    permissions = ("view", "export", "revert", "unmask")
    assert [name for name in permissions if f"`bemi_django.{name}_change`" not in PAGE] == []
