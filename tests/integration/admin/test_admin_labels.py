"""Rows are named on pages by what their models call them, whatever that is."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.core.cache import cache
from django.db import connection, models
from django.test import Client, RequestFactory
from django.test.utils import isolate_apps

from bemi_django.admin.access.rows.shown_rows import ShownRows
from sample_project.todos.models import Tag, Todo
from tests.support.audit import LIST, record, visitor

pytestmark = pytest.mark.django_db(databases=["default", "other"])


@pytest.fixture(autouse=True)
def tags(db: None) -> None:
    """Changes of a tag that is there, and of one that is not."""
    cache.clear()
    Tag.objects.create(pk=1, name="night")
    for number, key in enumerate((1, 2), 1):
        row = {"id": key, "name": "night"}
        record(number * 2, table="tag", primary_key=str(key), before={**row, "name": "day"}, after=row)
    record(5, table="tag", primary_key="2", operation="DELETE", before={"id": 2, "name": "night"}, after={})


def pages() -> list[str]:
    return [f"{LIST}{page}" for page in ("", "?view=rows", "deleted/", "timeline/todos/tag/1/")]


def shown(client: Client, page: str) -> str:
    response = client.get(page)
    assert response.status_code == 200, page
    return response.content.decode()


def test_a_label_of_any_length_leaves_a_page_of_its_length(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tag, "__str__", lambda self: f"{self.name} {'long' * 250_000}")
    for page in pages():
        text = shown(admin_client, page)
        assert "night longlong" in text and len(text) < 100_000, page


@pytest.mark.parametrize("label", ["", None, LookupError, RecursionError])
def test_a_row_that_has_no_label_is_named_by_its_key(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, label: Any
) -> None:
    def called(self: Tag) -> Any:
        if isinstance(label, type):
            raise label
        return label

    monkeypatch.setattr(Tag, "__str__", called)
    for page in pages():
        text = shown(admin_client, page)
        assert "tag 1" in text or "deleted" in page, page


def test_a_label_is_no_markup(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tag, "__str__", lambda self: "<img src=x>\u202e</a>&lt;")
    for page in pages():
        text = shown(admin_client, page)
        assert "<img src=x" not in text and "&lt;img src=x&gt;" in text, page


@pytest.fixture
def unreadable(tags: None) -> Todo:
    """Changes of two rows, of which this one has a year that Python does not have."""
    sleep, eat = (Todo.objects.create(task=task) for task in ("Sleep well", "Eat well"))
    for number, todo in enumerate((sleep, eat), 10):
        row = {"id": todo.pk, "task": "x"}
        record(number, primary_key=str(todo.pk), before=row, after={**row, "task": "y"})
    with connection.cursor() as cursor:
        cursor.execute("UPDATE todo SET created_at = '20000-01-01' WHERE id = %s", [sleep.pk])
    return sleep


TODOS = [f"{LIST}?table=todo&view={view}" for view in ("actions", "rows")]


def test_a_row_that_cannot_be_read_is_not_taken_for_deleted(admin_client: Client, unreadable: Todo) -> None:
    for page in TODOS:
        text = shown(admin_client, page)
        assert "<s>" not in text and "<s " not in text
        assert "Sleep well" in text and "Eat well" in text
    for query in ("", "?at=2020-01-01T00:00:00", "?field=created_at", "?related=all"):
        assert "<s>" not in shown(admin_client, f"{LIST}timeline/todos/todo/{unreadable.pk}/{query}")


def test_a_label_that_cannot_be_read_leaves_those_of_others(
    admin_client: Client, unreadable: Todo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Todo, "__str__", lambda self: f"{self.task} since {self.created_at.year > 2000}")
    for page in TODOS:
        text = shown(admin_client, page)
        assert "Eat well since True" in text and "Sleep well" not in text, page


def test_rows_whose_relations_cannot_all_be_read_keep_their_labels(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, django_user_model: Any
) -> None:
    owners = [django_user_model.objects.create_user(name) for name in ("ann", "bob", "cy")]
    for number, owner in enumerate(owners, 10):
        todo = Todo.objects.create(task="Sleep", owner=owner)
        record(number, primary_key=str(todo.pk), before={"id": todo.pk}, after={"id": todo.pk, "x": 1})
    with connection.cursor() as cursor:
        cursor.execute("UPDATE auth_user SET date_joined = '20000-01-01' WHERE id = %s", [owners[1].pk])
    monkeypatch.setattr(Todo, "__str__", lambda self: f"what {self.owner} does")
    for page in TODOS:
        text = shown(admin_client, page)
        assert "what ann does" in text and "what cy does" in text and "what bob does" not in text, page


def test_a_permission_that_cannot_be_asked_for_is_not_given(
    admin_client: Client, unreadable: Todo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def may(self: Any, request: Any, obj: Any = None) -> bool:
        return obj is None or obj.created_at.year > 2000

    monkeypatch.setattr(type(admin.site._registry[Todo]), "has_view_permission", may, raising=False)
    for page in TODOS:
        text = shown(admin_client, page)
        assert "Eat well" in text and "Sleep well" not in text, page


@pytest.mark.parametrize(("before", "is_noted"), [(0, True), (199, True), (200, False)])
def test_a_masked_value_of_which_a_label_shows_a_part_is_noted(
    monkeypatch: pytest.MonkeyPatch, settings: Any, before: int, is_noted: bool
) -> None:
    settings.BEMI_MASKED_FIELDS = ["tag.name"]
    noted: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "bemi_django.admin.access.own_events.note", lambda event, *given, **details: noted.append(details)
    )
    monkeypatch.setattr(Tag, "__str__", lambda self: f"{'x' * before}{self.name}")
    change = record(9, table="tag", primary_key="1", before={"id": 1}, after={"id": 1, "size": 2})
    permissions = ("bemi_django.view_change", "bemi_django.unmask_change", "todos.view_tag")
    shown(visitor(*permissions), f"{LIST}{change.pk}/change/")
    assert any("public.tag" in details.get("columns", ()) for details in noted) is is_noted


class Key:
    """A key that is like no other object."""

    def __init__(self, value: str) -> None:
        self.value = value


class MuteKey(Key):
    def __repr__(self) -> str:
        raise LookupError


class KeyField(models.CharField):  # type: ignore[type-arg]
    kind: type[Key] = Key

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Key:
        return self.kind(value)

    def get_prep_value(self, value: Any) -> Any:
        return value.value if isinstance(value, Key) else value


class MuteKeyField(KeyField):
    kind = MuteKey


@pytest.mark.parametrize(
    ("field", "column", "keys"),
    [
        (models.BinaryField(primary_key=True), "bytea", [b"a", b"b"]),
        (models.DecimalField(primary_key=True, max_digits=5, decimal_places=2), "numeric", ["1", "2"]),
        (KeyField(primary_key=True, max_length=9), "text", ["a", "b"]),
        (MuteKeyField(primary_key=True, max_length=9), "text", ["a", "b"]),
    ],
    ids=["bytes", "number", "object", "object without a text"],
)
@isolate_apps("django.contrib.contenttypes")
def test_rows_with_any_keys_are_shown_if_their_admin_has_them(
    field: Any, column: str, keys: list[Any], django_user_model: Any
) -> None:
    class Row(models.Model):
        key = field

        class Meta:
            app_label = "contenttypes"
            db_table = "rows_of_any_key"

        def __str__(self) -> str:
            return "row"

    class Limited(admin.ModelAdmin):  # type: ignore[type-arg]
        def get_queryset(self, request: Any) -> Any:
            return super().get_queryset(request).filter(pk=keys[0])

    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE rows_of_any_key (key {column} PRIMARY KEY)")
        cursor.executemany("INSERT INTO rows_of_any_key VALUES (%s)", [[key] for key in keys])
    request: Any = RequestFactory().get("/")
    request.user = django_user_model(username="ann")
    shown_rows, limited = ShownRows(request), Limited(Row, admin.site)
    rows = [Row(key=Decimal("1.0")), Row(key=Decimal("2.0"))] if column == "numeric" else None
    rows = rows or list(Row._default_manager.order_by("pk"))
    shown_rows.learn(limited, rows)
    assert [shown_rows.has(limited, row) for row in rows] == [True, False]
