"""The audit view records what is done with it, and shows events as other changes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import connections, transaction
from django.test import AsyncClient, Client, override_settings

from bemi_django import record as record_event
from bemi_django.models import Change
from sample_project.todos.models import Todo
from tests.support.audit import LIST, record, visitor
from tests.support.pipeline import Drain

REVERT = f"{LIST}revert/"


def events(drain: Drain) -> list[tuple[str, dict[str, Any]]]:
    return [
        (one.context["event"], one.context.get("details", {})) for one in drain() if one.operation == "EVENT"
    ]


@pytest.fixture
def admin(drain: Drain, client: Client, admin_user: Any) -> Client:
    client.force_login(admin_user)
    drain()
    return client


def test_an_export_is_recorded_with_its_filters_and_rows(admin: Client, drain: Drain, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = []
    for number in (1, 2, 3):
        record(number, operation="DELETE" if number == 3 else "UPDATE", table="tag")
    query = "?format=jsonl&operation=UPDATE&table=tag&q="
    parts: Any = admin.get(f"{LIST}export/{query}").streaming_content  # type: ignore[attr-defined]
    assert len(b"".join(parts).splitlines()) == 2
    ((name, details),) = events(drain)
    assert name == "exported"
    assert details == {
        "format": "jsonl",
        "filters": {"operation": "UPDATE", "table": "tag"},
        "rows": 2,
        "is_complete": True,
        "is_unmasked": False,
    }
    (event,) = Change.objects.filter(operation="EVENT")
    assert event.context["endpoint"] == f"{LIST}export/" and event.context["user_id"] is not None


def test_an_export_that_is_broken_off_is_recorded_as_far_as_it_went(admin: Client, drain: Drain) -> None:
    for number in range(1, 1500):
        record(number, table="tag")
    response = admin.get(f"{LIST}export/?format=csv&table=tag")
    assert next(iter(response.streaming_content))  # type: ignore[attr-defined]
    response.close()
    ((_, details),) = events(drain)
    assert details["rows"] == 1000 and not details["is_complete"] and details["is_unmasked"]
    (event,) = Change.objects.filter(operation="EVENT")
    assert event.context["endpoint"] == f"{LIST}export/"
    assert str(event.context["user_id"]) == admin.session["_auth_user_id"]


def test_an_export_by_an_async_server_is_recorded(drain: Drain, admin_user: Any) -> None:
    record(1, table="tag")

    async def read() -> None:
        client = AsyncClient()
        await sync_to_async(client.force_login)(admin_user)
        response: Any = await client.get(f"{LIST}export/?format=csv&table=tag")
        assert b"".join([part async for part in response.streaming_content])
        await sync_to_async(connections.close_all)()

    drain()
    asyncio.run(read())
    assert [name for name, _ in events(drain)] == ["exported"]


def test_values_that_are_masked_for_others_are_recorded_when_shown(drain: Drain) -> None:
    change = record(
        1, table="auth_user", primary_key="7", before={"id": 7, "email": "a"}, after={"id": 7, "email": "b"}
    )
    record(2)
    pages = ("", "?operation=UPDATE", f"{change.pk}/change/")
    clients = [
        visitor("bemi_django.view_change"),
        visitor("bemi_django.view_change", "bemi_django.unmask_change", name="bob"),
    ]
    drain()
    with override_settings(BEMI_MASKED_FIELDS=["auth_user.email"]):
        found = []
        for client in clients:
            for page in pages:
                assert client.get(f"{LIST}{page}").status_code == 200
            found.append(events(drain))
    assert found[0] == []
    assert [name for name, _ in found[1]] == ["unmasked"] * 3
    assert found[1][-1][1] == {
        "page": "change",
        "columns": {"public.auth_user": ["email"]},
        "keys": {"public.auth_user": ["7"]},
    }
    with override_settings(BEMI_MASKED_FIELDS=["auth_user.email"], BEMI_ADMIN_EVENTS=False):
        clients[1].get(LIST)
    clients[1].get(f"{LIST}?table=todo")
    assert events(drain) == []


def test_the_present_values_of_an_object_count_as_shown(admin: Client, drain: Drain, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["auth_user.email"]
    user = get_user_model().objects.create_user("carl", email="c@example.com")
    drain()
    assert admin.get(f"{LIST}timeline/auth/user/{user.pk}/").status_code == 200
    ((name, details),) = events(drain)
    assert (name, details["page"]) == ("unmasked", "timeline")
    assert details["columns"] == {"public.auth_user": ["email"]}
    assert details["keys"] == {"public.auth_user": [str(user.pk)]}
    settings.BEMI_MASKED_FIELDS = ["auth_user.email", "auth_user.id"]
    assert admin.get(f"{LIST}timeline/auth/user/{user.pk}/").status_code == 200
    assert [details["keys"] for _, details in events(drain)] == [{}]


def test_names_keys_and_statements_that_are_masked_for_others_are_recorded_when_shown(
    admin: Client, drain: Drain, settings: Any
) -> None:
    carl = get_user_model().objects.create_user("carl", email="c@example.com")
    drain()
    statement = {"SQL": "UPDATE auth_user SET username = 'x'"}
    change = record(1, table="tag", context={"user_id": carl.pk})
    deleted = record(2, primary_key="secret", operation="DELETE", before={"id": "secret"}, after={})
    written = record(3, table="tag", context=statement)
    placeholders = {"SQL": 'UPDATE "auth_user" SET "username" = %s WHERE "id" = %s'}
    of_orm = record(4, table="tag", primary_key="4", context=placeholders)
    for page, masked, columns, context in (
        (f"{change.pk}/change/", "auth_user.username", {"public.auth_user": ["username"]}, []),
        (f"{deleted.pk}/change/", "todo.id", {"public.todo": ["id"]}, []),
        (f"{written.pk}/change/", "auth_user.username", {}, ["SQL"]),
    ):
        settings.BEMI_MASKED_FIELDS = [masked]
        assert admin.get(f"{LIST}{page}").status_code == 200
        ((name, details),) = events(drain)
        assert (name, details["columns"]) == ("unmasked", columns), page
        assert details.get("context", []) == context, page
    # Nothing of it is masked for others.
    assert admin.get(f"{LIST}{of_orm.pk}/change/").status_code == 200
    assert events(drain) == []


def test_the_values_of_a_plan_count_as_shown(admin: Client, drain: Drain, settings: Any) -> None:
    todo = Todo.objects.create(task="Sleep")
    Todo.objects.update(task="Wake up")
    _, change = drain()
    for masked, keys, columns in (
        (["todo.task"], {"public.todo": [str(todo.pk)]}, ["task"]),
        (["todo.*"], {}, ["id", "task"]),
    ):
        settings.BEMI_MASKED_FIELDS = masked
        admin.get(f"{REVERT}?change={change.pk}")
        ((name, details),) = events(drain)
        assert (name, details["keys"]) == ("unmasked", keys)
        assert details["columns"] == {"public.todo": columns}


def test_a_revert_is_recorded_with_its_reason(admin: Client, drain: Drain) -> None:
    Todo.objects.create(task="Sleep")
    Todo.objects.update(task="Wake up")
    _, change = drain()
    plan = admin.get(f"{REVERT}?change={change.pk}")
    admin.post(f"{REVERT}?change={change.pk}", {"digest": plan.context["digest"], "reason": "mistake"})
    assert events(drain) == [
        ("reverted", {"what": "change", "change": str(change.pk), "rows": 1, "reason": "mistake"})
    ]


def test_time_travel_is_recorded_on_the_object(admin: Client, drain: Drain) -> None:
    todo = Todo.objects.create(task="Sleep")
    (created,) = drain()
    page = f"{LIST}timeline/todos/todo/{todo.pk}/"
    admin.get(page)
    assert events(drain) == []
    admin.get(f"{page}?at={created.committed_at.date().isoformat()}T23:59:59")
    (event,) = drain()
    assert event.context["event"] == "time_travel" and len(event.context["details"]["moments"]) == 1
    assert (event.table, event.primary_key) == ("todo", str(todo.pk))


def test_events_are_listed_filtered_and_shown(admin: Client, drain: Drain) -> None:
    todo = Todo.objects.create(task="Sleep")
    record_event("sent", todo, to="row-value@example.com")
    _, event = drain()
    listed = admin.get(f"{LIST}?operation=EVENT")
    (row,) = listed.context["rows"]
    assert [(brief.name, brief.after) for brief in row.briefs] == [
        ("event", "sent"),
        ("to", "row-value@example.com"),
    ]
    page = admin.get(f"{LIST}{event.pk}/change/")
    assert page.status_code == 200 and b"row-value@example.com" in page.content
    assert page.context["reverts"] == [] and page.context["transaction"] == []
    timeline = admin.get(f"{LIST}timeline/todos/todo/{todo.pk}/")
    assert [step.row.change.operation for step in timeline.context["steps"]] == ["EVENT", "CREATE"]
    assert b"row-value@example.com" in timeline.content
    assert admin.get(f"{LIST}activity/").status_code == 200
    plan = admin.get(f"{REVERT}?change={event.pk}")
    assert plan.status_code == 200 and not plan.context["actions"]


def test_the_page_of_a_transaction_with_an_event_offers_its_revert(admin: Client, drain: Drain) -> None:
    with transaction.atomic():
        todo = Todo.objects.create(task="Sleep")
        record_event("approved", todo)
        Todo.objects.create(task="Wake up")
    created, _, _ = drain()
    page = admin.get(f"{LIST}{created.pk}/change/")
    assert "Revert the transaction" in [str(label) for label, _ in page.context["reverts"]]


def test_a_deleted_object_that_was_looked_at_can_be_restored(admin: Client, drain: Drain) -> None:
    todo = Todo.objects.create(task="Sleep")
    key = todo.pk
    todo.delete()
    record_event("viewed", Todo(pk=key))
    drain()
    page = admin.get(f"{LIST}timeline/todos/todo/{key}/")
    assert page.status_code == 200 and page.context["restores"] is not None
