"""Revert and restore in the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.admin.models import LogEntry
from django.db import connection, transaction
from django.test import Client

from bemi_django import bound_context
from bemi_django.admin.pages.reverts import revert_choices
from bemi_django.models import Change
from sample_project.todos.models import Tag, Todo
from tests.support.audit import LIST, record, visitor
from tests.support.pipeline import Drain

REVERT = f"{LIST}revert/"
TODO = ("todos.view_todo", "todos.add_todo", "todos.change_todo", "todos.delete_todo")


@pytest.fixture
def admin(drain: Drain, client: Client, admin_user: Any) -> Client:
    client.force_login(admin_user)
    drain()
    return client


def confirm(client: Client, query: str, **fields: str) -> Any:
    """Look at the plan and confirm it."""
    plan = client.get(f"{REVERT}{query}")
    assert plan.status_code == 200
    return client.post(f"{REVERT}{query}", {"digest": plan.context["digest"], **fields}, follow=True)


def test_the_plan_comes_first_and_nothing_is_done_yet(admin: Client, drain: Drain) -> None:
    todo = Todo.objects.create(task="Sleep")
    Todo.objects.update(task="Wake up")
    _, change = drain()
    response = admin.get(f"{REVERT}?change={change.pk}")
    (line,) = response.context["actions"]
    assert line.values == [("task", "Wake up", "Sleep")]
    assert "Set task to Sleep" in response.content.decode()
    assert Todo.objects.get().task == "Wake up"
    response = confirm(admin, f"?change={change.pk}")
    assert Todo.objects.get().task == "Sleep"
    assert "1 row reverted." in response.content.decode()
    assert response.redirect_chain == [(f"{LIST}{change.pk}/change/", 302)]
    (reverted,) = [done for done in drain() if done.table == "todo"]
    assert reverted.context["reverts"] == [str(change.pk)]
    assert todo.pk == int(reverted.primary_key or 0)


def only_todos(request: Any, changes: Any) -> Any:
    return changes.filter(table="todo")


def test_what_the_database_refuses_is_told_with_its_reason(admin_client: Client, settings: Any) -> None:
    kept, other = Todo.objects.create(task="Sleep"), Todo.objects.create(task="Eat")
    for number, todo in enumerate((kept, other)):
        before, after = {"id": todo.pk, "task": "Old"}, {"id": todo.pk, "task": todo.task}
        last = record(9, ordinal=number, primary_key=str(todo.pk), before=before, after=after)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.task = 'Old' "
            f"AND NEW.id = {kept.pk} THEN RAISE 'at night'; END IF; RETURN NEW; END $$; "
            "CREATE TRIGGER keep BEFORE UPDATE ON todo FOR EACH ROW EXECUTE FUNCTION public.keep()"
        )
    query, refused = f"?transaction={last.pk}", "todo Sleep: the database refuses the change (at night)"
    page = confirm(admin_client, query).content.decode()
    assert f"Nothing was reverted: {refused}" in page and Todo.objects.filter(task="Old").count() == 0
    # It may be of any row, so who sees a part of the log only is not told.
    settings.BEMI_ADMIN_SCOPE = f"{__name__}.only_todos"
    page = confirm(admin_client, query).content.decode()
    assert "Nothing was reverted: todo Sleep: " in page and "at night" not in page
    del settings.BEMI_ADMIN_SCOPE
    page = confirm(admin_client, query, on_conflict="skip").content.decode()
    assert f"Not reverted: {refused}" in page and "1 row reverted." in page


def test_a_deleted_object_is_restored_with_what_hung_on_it(admin: Client, drain: Drain) -> None:
    todo = Todo.objects.create(task="Sleep")
    todo.tags.add(Tag.objects.create(name="night"))
    todo.delete()
    drain()
    (item,) = admin.get(f"{LIST}deleted/?table=todo").context["deleted"]
    assert item.may_restore
    query = f"?change={item.row.change.pk}"
    assert f"{REVERT}{query}" in admin.get(f"{LIST}deleted/").content.decode()
    timeline = admin.get(f"{LIST}timeline/todos/todo/{item.row.change.primary_key}/").content.decode()
    assert f"{REVERT}{query}" in timeline
    confirm(admin, query)
    assert [tag.name for tag in Todo.objects.get(task="Sleep").tags.all()] == ["night"]
    assert admin.get(f"{LIST}deleted/?table=todo").context["deleted"] == []


def test_a_transaction_and_a_request_are_undone_whole(admin: Client, drain: Drain) -> None:
    with bound_context(request_id="r-1"):
        with transaction.atomic():
            Todo.objects.create(task="a")
            Todo.objects.create(task="b")
        Todo.objects.create(task="c")
    first, second, third = drain()
    page = admin.get(f"{LIST}{first.pk}/change/").content.decode()
    for query in (f"?transaction={first.pk}", f"?request={first.pk}"):
        assert f"{REVERT}{query}" in page
    plan = admin.get(f"{REVERT}?transaction={second.pk}").context["actions"]
    assert sorted(line.object for line in plan) == ["todo a", "todo b"]
    confirm(admin, f"?transaction={second.pk}")
    assert list(Todo.objects.values_list("task", flat=True)) == ["c"]
    response = confirm(admin, f"?request={third.pk}", on_conflict="skip")
    assert response.status_code == 200
    assert not Todo.objects.exists()


def test_conflicts_come_first_and_stop_everything_unless_told_otherwise(admin: Client, drain: Drain) -> None:
    todo = Todo.objects.create(task="a")
    Todo.objects.update(task="b")
    _, change = drain()
    Todo.objects.update(task="c")
    query = f"?change={change.pk}"
    response = admin.get(f"{REVERT}{query}")
    text = response.content.decode()
    assert [line.step.conflict.kind for line in response.context["conflicts"]] == ["changed_since"]
    assert 'name="overwrite" value="task"' in text
    response = confirm(admin, query)
    assert "Nothing was reverted." in response.content.decode()
    todo.refresh_from_db()
    assert todo.task == "c"
    confirm(admin, query, on_conflict="skip")
    todo.refresh_from_db()
    assert todo.task == "c"
    confirm(admin, query, on_conflict="force")
    todo.refresh_from_db()
    assert todo.task == "a"


def test_what_prevents_even_overwriting_is_said(admin: Client, drain: Drain) -> None:
    todo = Todo.objects.create(task="Sleep")
    (created,) = drain()
    Todo.objects.update(task="Wake up")
    todo.tags.add(Tag.objects.create(name="night"))
    drain()
    response = admin.get(f"{REVERT}?change={created.pk}")
    page = response.content.decode()
    assert response.context["modes"] == []
    assert [line.conflict for line in response.context["conflicts"]] == [
        "changed since: task is Wake up, not Sleep",
        "a row of todo-tag relationship refers to it",
    ]
    assert "2 conflicts" in page and "Overwriting would do this" not in page


def test_a_plan_that_is_another_one_by_now_is_shown_again(admin: Client, drain: Drain) -> None:
    Todo.objects.create(task="a")
    Todo.objects.update(task="b")
    _, change = drain()
    query = f"{REVERT}?change={change.pk}"
    digest = admin.get(query).context["digest"]
    Todo.objects.update(task="c")
    response = admin.post(query, {"digest": digest, "on_conflict": "force"})
    assert "Review the plan again" in response.content.decode()
    assert Todo.objects.get().task == "c"


def test_without_a_valid_token_nothing_happens(admin: Client, admin_user: Any, drain: Drain) -> None:
    Todo.objects.create(task="a")
    Todo.objects.update(task="b")
    _, change = drain()
    query = f"{REVERT}?change={change.pk}"
    digest = admin.get(query).context["digest"]
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    assert strict.post(query, {"digest": digest}).status_code == 403
    strict.get(query)
    assert Todo.objects.get().task == "b"


@pytest.mark.parametrize(
    ("lacks", "is_offered", "status"),
    [
        (None, True, 200),
        ("bemi_django.revert_change", False, 403),
        ("todos.change_todo", False, 200),
    ],
)
def test_who_may_not_change_the_model_may_not_revert(
    drain: Drain, lacks: str | None, is_offered: bool, status: int
) -> None:
    Todo.objects.create(task="a")
    Todo.objects.update(task="b")
    _, change = drain()
    permissions = {"bemi_django.view_change", "bemi_django.revert_change", *TODO} - {lacks}
    client = visitor(*sorted(filter(None, permissions)))
    assert (f"{REVERT}?change={change.pk}" in client.get(f"{LIST}{change.pk}/change/").content.decode()) == (
        is_offered
    )
    plan = client.get(f"{REVERT}?change={change.pk}")
    assert plan.status_code == status
    digest = plan.context["digest"] if status == 200 else ""
    answer = client.post(f"{REVERT}?change={change.pk}", {"digest": digest})
    assert answer.status_code == (302 if is_offered else 403)
    assert Todo.objects.get().task == ("a" if is_offered else "b")


def test_who_may_not_add_is_offered_no_restore(drain: Drain) -> None:
    Todo.objects.create(task="a").delete()
    drain()
    client = visitor("bemi_django.view_change", "bemi_django.revert_change", "todos.view_todo")
    (item,) = client.get(f"{LIST}deleted/").context["deleted"]
    assert not item.may_restore
    timeline = client.get(f"{LIST}timeline/todos/todo/{item.row.change.primary_key}/")
    assert timeline.context["restores"] is None


def test_a_table_without_a_model_is_the_superuser_s(db: None, admin_client: Client) -> None:
    change = record(1, table="no_model")
    client = visitor("bemi_django.view_change", "bemi_django.revert_change")
    assert REVERT not in client.get(f"{LIST}{change.pk}/change/").content.decode()
    assert REVERT in admin_client.get(f"{LIST}{change.pk}/change/").content.decode()


def test_what_the_plan_writes_is_masked(drain: Drain, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["todo.task"]
    Todo.objects.create(task="secret-1")
    Todo.objects.update(task="secret-2")
    _, change = drain()
    client = visitor("bemi_django.view_change", "bemi_django.revert_change", *TODO)
    text = client.get(f"{REVERT}?change={change.pk}").content.decode()
    assert "secret" not in text
    assert "••••••" in text
    confirm(client, f"?change={change.pk}")
    assert Todo.objects.get().task == "secret-1"


@pytest.mark.parametrize(
    "query", ["", "?change=x", "?change=00000000-0000-8000-8000-000000000000", "?request="]
)
def test_what_is_no_change_is_not_found(admin_client: Client, query: str) -> None:
    assert admin_client.get(f"{REVERT}{query}").status_code == 404


def test_a_request_of_nobody_and_an_unknown_way_are_not_found(admin_client: Client) -> None:
    change = record(1, context={})
    assert admin_client.get(f"{REVERT}?request={change.pk}").status_code == 404
    assert admin_client.post(f"{REVERT}?change={change.pk}", {"on_conflict": "x"}).status_code == 404


@pytest.mark.django_db(databases=["default", "other"])
def test_what_cannot_be_planned_is_said(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    change = record(1, database="elsewhere")
    response = admin_client.get(f"{REVERT}?change={change.pk}")
    assert "no entry of DATABASES is the database" in response.content.decode()
    assert "elsewhere" in admin_client.post(f"{REVERT}?change={change.pk}").content.decode()
    monkeypatch.setattr(revert_choices, "MOST", 0)
    change = record(2)
    assert "too many changes" in admin_client.get(f"{REVERT}?change={change.pk}").content.decode()


def test_what_is_already_undone_has_nothing_to_do(admin: Client, drain: Drain) -> None:
    Todo.objects.create(task="a").delete()
    changes = drain()
    created = next(change for change in changes if change.operation == "CREATE")
    assert Change.objects.filter(pk=created.pk).exists()
    response = admin.get(f"{REVERT}?change={created.pk}")
    assert not response.context["actions"]


def no_tags(request: Any, changes: Any) -> Any:
    return changes.exclude(table="todo_tags")


def test_what_would_come_back_with_a_row_must_be_in_the_scope_too(drain: Drain, settings: Any) -> None:
    settings.BEMI_ADMIN_SCOPE = f"{__name__}.no_tags"
    todo = Todo.objects.create(task="Sleep")
    todo.tags.add(Tag.objects.create(name="night"))
    todo.delete()
    deleted = next(change for change in drain() if (change.table, change.operation) == ("todo", "DELETE"))
    client = visitor("bemi_django.view_change", "bemi_django.revert_change", *TODO)
    response = client.get(f"{REVERT}?change={deleted.pk}")
    assert "You do not have permission to change all of these objects." in response.content.decode()
    assert "tag_id" not in response.content.decode()
    digest = response.context["digest"]
    assert client.post(f"{REVERT}?change={deleted.pk}", {"digest": digest}).status_code == 403
    assert not Todo.objects.exists()


def test_a_rule_of_the_model_s_admin_for_single_objects_counts(
    drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    Todo.objects.create(task="a")
    Todo.objects.update(task="b")
    change = drain()[-1]

    def may_change(request: Any, obj: Any = None) -> bool:
        return obj is None or obj.task != "b"

    monkeypatch.setattr(site._registry[Todo], "has_change_permission", may_change)
    client = visitor("bemi_django.view_change", "bemi_django.revert_change", *TODO)
    assert REVERT not in client.get(f"{LIST}{change.pk}/change/").content.decode()
    digest = client.get(f"{REVERT}?change={change.pk}").context["digest"]
    assert client.post(f"{REVERT}?change={change.pk}", {"digest": digest}).status_code == 403


def test_a_save_in_the_admin_is_reverted_without_its_log_entry(admin: Client, drain: Drain) -> None:
    admin.post("/admin/todos/todo/add/", {"task": "Sleep"})
    changes = {change.table: change for change in drain()}
    created, entry = changes["todo"], changes["django_admin_log"]
    assert created.transaction_id == entry.transaction_id
    assert not admin.get(f"{LIST}{entry.pk}/change/").context["reverts"]
    plan = admin.get(f"{REVERT}?transaction={created.pk}")
    assert [line.step.table for line in plan.context["actions"]] == ["todo"]
    confirm(admin, f"?transaction={entry.pk}")
    assert not Todo.objects.exists()
    assert LogEntry.objects.count() == 1


@pytest.mark.parametrize("operation", ["TRUNCATE", "SKIPPED", "GAP", "EVENT", "BASELINE"])
def test_what_is_no_change_of_a_row_offers_no_revert(admin_client: Client, operation: str) -> None:
    change = record(1, operation=operation, primary_key=None, before={}, after={})
    assert REVERT not in admin_client.get(f"{LIST}{change.pk}/change/").content.decode()
    for way in ("change", "transaction", "request"):
        page = admin_client.get(f"{REVERT}?{way}={change.pk}")
        assert page.context["modes"] == []
        assert "<form method" not in page.content.decode().partition("content-main")[2]
        answer = admin_client.post(f"{REVERT}?{way}={change.pk}", {"on_conflict": "skip"}, follow=True)
        assert "reverted" not in answer.content.decode().replace("Nothing was reverted", "")
