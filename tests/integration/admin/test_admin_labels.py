"""Rows are named on pages by what their models call them, whatever that is."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client

from sample_project.todos.models import Tag, Todo
from tests.support.audit import LIST, record

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


def test_a_row_with_a_year_that_python_does_not_have_is_not_taken_for_deleted(admin_client: Client) -> None:
    sleep, eat = (Todo.objects.create(task=task) for task in ("Sleep well", "Eat well"))
    for number, todo in enumerate((sleep, eat), 10):
        row = {"id": todo.pk, "task": "x"}
        record(number, primary_key=str(todo.pk), before=row, after={**row, "task": "y"})
    with connection.cursor() as cursor:
        cursor.execute("UPDATE todo SET created_at = '20000-01-01' WHERE id = %s", [sleep.pk])
    for view in ("actions", "rows"):
        text = shown(admin_client, f"{LIST}?table=todo&view={view}")
        assert "<s>" not in text and "<s " not in text
        assert "Sleep well" in text and "Eat well" in text
    for query in ("", "?at=2020-01-01T00:00:00", "?field=created_at", "?related=all"):
        assert "<s>" not in shown(admin_client, f"{LIST}timeline/todos/todo/{sleep.pk}/{query}")
