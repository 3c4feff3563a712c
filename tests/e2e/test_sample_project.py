from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from bemi_django.models import Change
from sample_project.database import database_from
from sample_project.optional import aldjemy_usable
from sample_project.todos import sqlalchemy_edit
from sample_project.todos.context import request_context
from sample_project.todos.models import Tag, Todo

needs_aldjemy = pytest.mark.skipif(
    not aldjemy_usable(), reason="aldjemy with SQLAlchemy 1.4 is not installed"
)


@pytest.fixture
def user(db: None) -> Any:
    return get_user_model().objects.create_user("ann", password="secret")


@pytest.fixture
def visitor(client: Client, user: Any) -> Client:
    client.force_login(user)
    return client


@pytest.fixture
def todo(user: Any) -> Todo:
    todo: Todo = Todo.objects.create(task="Sleep", owner=user)
    return todo


@pytest.fixture
def foreign_todo(db: None) -> Todo:
    owner = get_user_model().objects.create_user("bob")
    todo: Todo = Todo.objects.create(task="Not yours", owner=owner)
    return todo


@pytest.fixture
def queries() -> Iterator[list[str]]:
    seen: list[str] = []

    def record(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(record):
        yield seen


def texts(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/"),
        ("post", "/"),
        ("get", "/history/"),
        ("post", "/todos/1/complete/"),
        ("post", "/todos/1/delete/"),
        ("post", "/todos/1/rename/"),
        ("post", "/todos/clear-completed/"),
    ],
)
def test_a_page_sends_a_stranger_to_the_login(db: None, client: Client, method: str, path: str) -> None:
    response = getattr(client, method)(path)
    assert response.status_code == 302
    assert response.url == f"{reverse('login')}?next={path}"


@pytest.mark.parametrize(("method", "path"), [("get", "/api/todos/"), ("delete", "/api/todos/1/")])
def test_the_api_tells_a_stranger_to_log_in(db: None, client: Client, method: str, path: str) -> None:
    response = getattr(client, method)(path)
    assert response.status_code == 401
    assert response.json() == {"error": "log in first"}


@pytest.mark.parametrize("path", ["/", "/todos/clear-completed/", "/api/todos/"])
def test_a_write_without_a_csrf_token_is_refused(user: Any, path: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    response = strict.post(path, {"task": "Sleep"})
    assert response.status_code == 403
    assert not Todo.objects.exists()


def test_the_login_form_leads_to_the_list_and_the_logout_back(client: Client, user: Any) -> None:
    response = client.post(reverse("login"), {"username": "ann", "password": "secret"})
    assert response["Location"] == reverse("todos:list")
    assert client.post(reverse("logout"))["Location"] == reverse("login")


def test_the_login_form_names_its_error(client: Client, db: None) -> None:
    response = client.post(reverse("login"), {"username": "ann", "password": "wrong"})
    assert b"Please enter a correct username and password" in response.content


def test_an_empty_list_says_what_to_do(visitor: Client) -> None:
    assert b"Nothing here yet." in visitor.get("/").content


def test_the_list_shows_own_todos_with_their_tags_escaped(
    visitor: Client, todo: Todo, foreign_todo: Todo
) -> None:
    todo.tags.add(Tag.objects.create(name="<b>night</b>"))
    page = visitor.get("/").content.decode()
    assert "Sleep" in page
    assert "&lt;b&gt;night&lt;/b&gt;" in page
    assert foreign_todo.task not in page


def test_the_form_adds_a_todo_of_the_visitor(visitor: Client, user: Any) -> None:
    response = visitor.post("/", {"task": "  Eat  "}, follow=True)
    added = Todo.objects.get()
    assert (added.task, added.is_completed, added.owner) == ("Eat", False, user)
    assert texts(response) == ["Added “Eat”."]


@pytest.mark.parametrize("task", ["", "  ", "x" * 201, "nul\0"], ids=["empty", "blank", "long", "nul"])
def test_the_form_keeps_a_bad_task_out_and_says_why(visitor: Client, task: str) -> None:
    response = visitor.post("/", {"task": task})
    assert response.status_code == 200
    assert b'class="error"' in response.content
    assert not Todo.objects.exists()


def test_complete_marks_the_todo(visitor: Client, todo: Todo) -> None:
    response = visitor.post(f"/todos/{todo.pk}/complete/", follow=True)
    todo.refresh_from_db()
    assert todo.is_completed
    assert texts(response) == ["Completed “Sleep”."]


def test_delete_removes_the_todo_and_its_tags(visitor: Client, todo: Todo) -> None:
    todo.tags.add(Tag.objects.create(name="night"))
    visitor.post(f"/todos/{todo.pk}/delete/")
    assert not Todo.objects.exists()
    assert Tag.objects.exists()


@pytest.mark.parametrize("action", ["complete", "delete", "rename"])
def test_an_action_on_the_todo_of_another_is_not_found(
    visitor: Client, foreign_todo: Todo, action: str
) -> None:
    response = visitor.post(f"/todos/{foreign_todo.pk}/{action}/", {"task": "Mine"})
    assert response.status_code == 404
    foreign_todo.refresh_from_db()
    assert (foreign_todo.task, foreign_todo.is_completed) == ("Not yours", False)


@pytest.mark.parametrize("action", ["complete", "delete", "rename"])
def test_an_action_by_get_is_not_allowed(visitor: Client, todo: Todo, action: str) -> None:
    assert visitor.get(f"/todos/{todo.pk}/{action}/").status_code == 405


@needs_aldjemy
def test_rename_goes_through_sqlalchemy_and_leaves_nothing_stale(
    visitor: Client, todo: Todo, queries: list[str], transactional_db: None
) -> None:
    for task in ("Sleep well", "Sleep longer"):
        response = visitor.post(f"/todos/{todo.pk}/rename/", {"task": task}, follow=True)
        todo.refresh_from_db()
        assert todo.task == task
    assert texts(response) == ["Renamed “Sleep well” to “Sleep longer”."]
    assert not [sql for sql in queries if 'UPDATE "todo"' in sql]


@needs_aldjemy
def test_a_failed_rename_does_not_spoil_the_next_one(todo: Todo, transactional_db: None) -> None:
    with pytest.raises(ValueError, match="NUL"):
        sqlalchemy_edit.rename(todo.pk, "nul\0")
    sqlalchemy_edit.rename(todo.pk, "Sleep well")
    todo.refresh_from_db()
    assert todo.task == "Sleep well"


def test_rename_says_so_when_aldjemy_is_not_installed(
    visitor: Client, todo: Todo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apps, "is_installed", lambda name: name != "aldjemy")
    response = visitor.post(f"/todos/{todo.pk}/rename/", {"task": "Sleep well"}, follow=True)
    assert texts(response) == [sqlalchemy_edit.AldjemyMissingError.__doc__]
    todo.refresh_from_db()
    assert todo.task == "Sleep"


def test_rename_refuses_an_empty_task(visitor: Client, todo: Todo) -> None:
    response = visitor.post(f"/todos/{todo.pk}/rename/", {"task": ""}, follow=True)
    assert texts(response) == ["Not renamed: This field is required."]


def test_clear_completed_deletes_the_completed_todos_of_the_visitor_only(
    visitor: Client, user: Any, todo: Todo, foreign_todo: Todo
) -> None:
    done = Todo.objects.create(task="Done", is_completed=True, owner=user)
    done.tags.add(Tag.objects.create(name="night"))
    Todo.objects.filter(pk=foreign_todo.pk).update(is_completed=True)
    response = visitor.post("/todos/clear-completed/", follow=True)
    assert set(Todo.objects.all()) == {todo, foreign_todo}
    assert texts(response) == ["Cleared 1 completed."]


def test_the_api_creates_lists_completes_and_deletes(visitor: Client, foreign_todo: Todo) -> None:
    created = visitor.post("/api/todos/", {"task": "Eat"}, content_type="application/json")
    assert created.status_code == 201
    row = created.json()
    assert (row["task"], row["is_completed"]) == ("Eat", False)
    assert visitor.get("/api/todos/").json() == {"todos": [row]}

    path = f"/api/todos/{row['id']}/"
    updated = visitor.put(path, {"is_completed": True}, content_type="application/json")
    assert updated.json() == {**row, "is_completed": True}
    assert visitor.delete(path).status_code == 204
    assert visitor.get("/api/todos/").json() == {"todos": []}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"task": 1}',
        '{"task": " "}',
        '{"task": "\\u0000"}',
        '{"task": "\\ud800"}',
        b"\xff",
    ],
)
def test_the_api_answers_a_bad_body_with_400(visitor: Client, body: str | bytes) -> None:
    response = visitor.post("/api/todos/", body, content_type="application/json")
    assert response.status_code == 400
    assert list(response.json()) == ["error"]
    assert not Todo.objects.exists()


@pytest.mark.parametrize("value", ["true", 1, None])
def test_the_api_takes_only_true_or_false(visitor: Client, todo: Todo, value: object) -> None:
    body = json.dumps({"is_completed": value})
    response = visitor.put(f"/api/todos/{todo.pk}/", body, content_type="application/json")
    assert response.status_code == 400
    assert response.json() == {"error": "is_completed: true or false"}


@pytest.mark.parametrize("method", ["put", "delete"])
def test_the_api_hides_the_todo_of_another(visitor: Client, foreign_todo: Todo, method: str) -> None:
    for pk in (foreign_todo.pk, 10**30):
        response = getattr(visitor, method)(f"/api/todos/{pk}/", {}, content_type="application/json")
        assert response.status_code == 404
        assert response.json() == {"error": "no such todo"}
    assert Todo.objects.filter(pk=foreign_todo.pk).exists()


def test_history_without_changes_says_how_to_record_some(visitor: Client) -> None:
    assert b"No change is recorded yet." in visitor.get("/history/").content


def record_change(todo: Todo, number: int) -> None:
    Change.objects.create(
        id=UUID(int=number),
        database="app",
        schema="public",
        table="todo",
        primary_key=str(todo.pk),
        operation="CREATE",
        after={"task": f"<i>{todo.task}</i>", "owner_id": todo.owner_id},
        context={"n": number},
        committed_at=timezone.now() + timedelta(milliseconds=number),
        queued_at=timezone.now(),
        created_at=timezone.now(),
        transaction_id=number,
        position=number,
    )


def test_history_shows_the_latest_changes_of_own_rows_escaped(
    visitor: Client, todo: Todo, foreign_todo: Todo
) -> None:
    for number in range(60):
        record_change(todo, number)
    record_change(foreign_todo, 99)
    response = visitor.get("/history/")
    assert [change.context["n"] for change in response.context["changes"]] == list(range(59, 9, -1))
    page = response.content.decode()
    assert "&lt;i&gt;Sleep&lt;/i&gt;" in page
    assert "Not yours" not in page


def test_history_shows_everything_to_staff(visitor: Client, user: Any, foreign_todo: Todo) -> None:
    user.is_staff = True
    user.save()
    record_change(foreign_todo, 1)
    assert "Not yours" in visitor.get("/history/").content.decode()


@pytest.mark.parametrize("path", ["todo", "tag"])
def test_the_admin_lists_the_models(admin_client: Client, todo: Todo, path: str) -> None:
    assert admin_client.get(f"/admin/todos/{path}/").status_code == 200


def test_the_context_names_user_endpoint_and_method(rf: RequestFactory, user: Any) -> None:
    request = rf.put("/api/todos/1/?q=1")
    request.user = user
    assert request_context(request) == {"user_id": user.pk, "endpoint": "/api/todos/1/", "method": "PUT"}


def test_tidy_todos_completes_the_old_ones(todo: Todo, foreign_todo: Todo, capsys: Any) -> None:
    Todo.objects.filter(pk=todo.pk).update(created_at=timezone.now() - timedelta(days=8))
    call_command("tidy_todos", "--days=7")
    assert list(Todo.objects.filter(is_completed=True)) == [todo]
    assert capsys.readouterr().out == "Completed 1 todos.\n"


@pytest.mark.parametrize("days", ["-1", "x", "9" * 12])
def test_tidy_todos_refuses_days_that_are_none(db: None, days: str) -> None:
    with pytest.raises(CommandError, match="a whole number from 0"):
        call_command("tidy_todos", f"--days={days}")


def test_the_database_url_is_taken_apart_and_unquoted() -> None:
    url = "postgresql://u%40x:p%2Fw@db.example:6543/to%20do?sslmode=require&application_name=a%20b"
    assert database_from({"DATABASE_URL": url, "PGHOST": "ignored"}) == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "to do",
        "USER": "u@x",
        "PASSWORD": "p/w",
        "HOST": "db.example",
        "PORT": "6543",
        "OPTIONS": {"sslmode": "require", "application_name": "a b"},
    }


@pytest.mark.parametrize("url", ["mysql://db/x", "postgresql://db:port/x"])
def test_a_database_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL"):
        database_from({"DATABASE_URL": url})


def test_without_a_url_the_usual_variables_count() -> None:
    database = database_from({"PGHOST": "/run/postgresql", "PGDATABASE": "todos"})
    assert (database["HOST"], database["NAME"]) == ("/run/postgresql", "todos")
