"""What who may see: scope, masks, and the models' own permissions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import Client

from sample_project.todos.models import Todo
from tests.support.audit import LIST, listed, record, visitor

SECRET = "pbkdf2-secret"


def only_todos(request: HttpRequest, changes: Any) -> Any:
    return changes if request.user.is_superuser else changes.filter(table="todo")


@pytest.fixture
def scoped(settings: Any) -> None:
    settings.BEMI_ADMIN_SCOPE = f"{__name__}.only_todos"


def test_the_scope_rules_every_page(db: None, scoped: None, admin_client: Client) -> None:
    hidden = record(1, table="tag", operation="DELETE", before={"name": "hidden-tag"}, after={})
    record(1, ordinal=1)
    record(2, context={"request_id": "r1"})
    permissions = ("view_change", "export_change")
    client = visitor(*(f"bemi_django.{name}" for name in permissions), "todos.view_todo", "todos.view_tag")
    assert listed(client) == [2, 1]
    assert listed(admin_client) == [2, 1, 1]
    assert client.get(f"{LIST}{hidden.pk}/change/").status_code == 404
    assert client.get(f"{LIST}timeline/todos/tag/1/").status_code == 404
    for path in ("activity/", "deleted/", f"{record(3).pk}/change/"):
        assert "hidden-tag" not in client.get(f"{LIST}{path}").content.decode()
    exported: Any = client.get(f"{LIST}export/?format=jsonl")
    assert b"hidden-tag" not in b"".join(exported.streaming_content)


def secret_change(number: int = 1, **fields: Any) -> Any:
    """Of a user whose key no other user gets."""
    given = {
        "table": "auth_user",
        "before": {"id": 5_000_000, "username": "bob", "password": f"{SECRET}-1"},
        "after": {"id": 5_000_000, "username": "bob", "password": f"{SECRET}-2"},
        "context": {"db_user": "x", "SQL": f"password = '{SECRET}-2'"},
    }
    return record(number, primary_key="5000000", **{**given, **fields})


PATHS = [
    "",
    "activity/",
    "deleted/",
    "{id}/change/",
    "export/?format=csv",
    "export/?format=jsonl",
    "timeline/auth/user/5000000/",
    "timeline/auth/user/5000000/?at=2020-01-01T00:00&and=2030-01-01T00:00",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("may_unmask", [False, True])
def test_a_masked_value_is_on_no_page_and_in_no_file(db: None, path: str, may_unmask: bool) -> None:
    change = secret_change()
    secret_change(2, operation="DELETE", after={})
    names = ["view_change", "export_change", *(["unmask_change"] if may_unmask else [])]
    client = visitor(*(f"bemi_django.{name}" for name in names), "auth.view_user")
    response: Any = client.get(f"{LIST}{path.format(id=change.pk)}")
    assert response.status_code == 200
    text = b"".join(response) if response.streaming else response.content
    assert (SECRET.encode() in text) == may_unmask
    if not may_unmask:
        assert "••••••" in text.decode() or "\\u2022" in text.decode()


def test_that_a_masked_value_changed_is_still_said(db: None) -> None:
    secret_change()
    client = visitor("bemi_django.view_change", "auth.view_user")
    (row,) = client.get(f"{LIST}?view=rows").context["rows"]
    assert [brief.name for brief in row.briefs] == ["password"]


def test_a_masked_value_cannot_be_guessed_by_searching(db: None) -> None:
    secret_change()
    client = visitor("bemi_django.view_change")
    response = client.get(LIST, {"q": f"password:{SECRET}-1", "view": "rows"})
    assert response.context["rows"] == []
    assert "You may not search the values of password." in response.content.decode()


def test_an_sql_with_placeholders_only_is_shown(db: None) -> None:
    change = secret_change(context={"SQL": 'UPDATE "auth_user" SET "password" = %s WHERE "id" = %s'})
    client = visitor("bemi_django.view_change")
    context = client.get(f"{LIST}{change.pk}/change/").context
    assert "SET" in context["sql"]
    assert context["as_sql"] is None


@pytest.mark.parametrize("sql", ["UPDATE t SET pin = 1234", "UPDATE t SET a = $$x$$", "SET a = E'x'"])
def test_an_sql_that_may_hold_the_value_is_not_shown(db: None, sql: str) -> None:
    change = secret_change(context={"SQL": sql})
    client = visitor("bemi_django.view_change", "bemi_django.export_change")
    assert sql not in client.get(f"{LIST}{change.pk}/change/").content.decode()


def test_a_masked_key_is_masked_wherever_the_key_is(db: None, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["public.people.ssn"]
    change = record(
        1, table="people", primary_key="078-05", before={"ssn": "078-05"}, after={"ssn": "078-05"}
    )
    client = visitor("bemi_django.view_change", "bemi_django.export_change")
    for path in ("", f"{change.pk}/change/"):
        assert "078-05" not in client.get(f"{LIST}{path}").content.decode()
    exported: Any = client.get(f"{LIST}export/?format=jsonl")
    line = json.loads(b"".join(exported.streaming_content))
    assert (line["primary_key"], line["before"]["ssn"]) == ("••••••", "••••••")


def test_numbers_beside_a_masked_value_stay_exact_in_a_file(admin_client: Client, settings: Any) -> None:
    from django.db import connection

    settings.BEMI_MASKED_FIELDS = ["todo.task"]
    change = record(1)
    exact = '{"n": 1.123456789012345678901234567890, "task": "x"}'
    with connection.cursor() as cursor:
        cursor.execute("UPDATE changes SET after = %s WHERE id = %s", [exact, change.pk])
    client = visitor("bemi_django.view_change", "bemi_django.export_change")
    exported: Any = client.get(f"{LIST}export/?format=jsonl")
    assert b"1.123456789012345678901234567890" in b"".join(exported.streaming_content)


def test_a_row_of_a_model_that_one_may_not_view_has_no_name_and_no_link(db: None) -> None:
    todo = Todo.objects.create(task="Private")
    record(1, primary_key=str(todo.pk), before={}, after={})
    client = visitor("bemi_django.view_change")
    (row,) = client.get(f"{LIST}?view=rows").context["rows"]
    assert (row.object.label, row.object.url, row.object.timeline) == (str(todo.pk), None, None)
    assert client.get(f"{LIST}timeline/todos/todo/{todo.pk}/").status_code == 403


def test_a_model_that_calls_its_rows_by_a_masked_value_calls_them_by_key(db: None, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["todo.task"]
    todo = Todo.objects.create(task="Private")
    record(1, primary_key=str(todo.pk), before={}, after={"task": "Private"})
    client = visitor("bemi_django.view_change", "todos.view_todo")
    for path in ("", f"timeline/todos/todo/{todo.pk}/"):
        assert "Private" not in client.get(f"{LIST}{path}").content.decode()
