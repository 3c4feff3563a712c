"""The pages of the audit trail show one of several logs, and say which."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partialmethod
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.core.management import call_command
from django.db import connections
from django.test import AsyncClient, Client

from bemi_django.admin.access.chosen_log import choices
from bemi_django.admin.access.masks import MASK
from bemi_django.admin.search.logs.listed_logs import ListedLogs
from bemi_django.models import Change, SavedView
from sample_project.todos.models import Tag, Todo
from tests.support.audit import LIST, listed, record, visitor

pytestmark = [
    pytest.mark.administrator,
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
]


@pytest.fixture
def logs(settings: Any, transactional_db: None) -> Iterator[list[Change]]:
    """A change of a todo in the log of the first destination, and one of a tag in the second one."""
    call_command("migrate", "bemi_django", "zero", database="other", verbosity=0)
    settings.DATABASE_ROUTERS = ["bemi_django.routers.BemiRouter"]
    settings.BEMI_DESTINATIONS = {"other": {"tables": ["public.tag"]}}
    call_command("migrate", database="other", verbosity=0)
    first, second = record(1), record(2, table="tag", primary_key="2")
    with connections["other"].cursor() as cursor:
        cursor.execute("SELECT _bemi.partition_v1(%s)", [second.committed_at])
    second.save(using="other", force_insert=True)
    Change.objects.using("default").filter(pk=second.pk).delete()
    cache.clear()
    yield [first, second]
    Change.objects.using("other").delete()
    call_command("migrate", "bemi_django", "zero", database="other", verbosity=0)
    settings.BEMI_DESTINATIONS = {}
    call_command("migrate", database="other", verbosity=0)


def chosen(client: Client, page: str) -> str:
    """Return the log that a page says it shows."""
    (name,) = (log.alias for log in client.get(page).context["logs"] if log.is_chosen)
    return str(name)


def test_the_list_shows_the_log_that_was_chosen(admin_client: Client, logs: list[Change]) -> None:
    first, second = logs
    assert listed(admin_client) == [1]
    assert chosen(admin_client, LIST) == "default"
    response = admin_client.get(LIST, {"log": "other", "operation": "UPDATE"})
    assert response.headers["Location"] == f"{LIST}?operation=UPDATE"
    assert listed(admin_client) == listed(admin_client, "?operation=UPDATE") == [2]
    page = admin_client.get(LIST).content.decode()
    assert '<a href="?log=other" aria-current="true">other</a>' in page
    # What is read when the view has returned is of the same log.
    export = admin_client.get(f"{LIST}export/", {"format": "jsonl"})
    lines = b"".join(export.streaming_content).decode()  # type: ignore[attr-defined]
    assert str(second.pk) in lines and str(first.pk) not in lines
    assert admin_client.get(f"{LIST}{second.pk}/change/").status_code == 200
    assert admin_client.get(f"{LIST}{first.pk}/change/").status_code == 404
    for page in ("activity", "health", "deleted"):
        assert chosen(admin_client, f"{LIST}{page}/") == "other"
    # Saved views belong to no log.
    saved = admin_client.post(f"{LIST}views/", {"name": "mine", "query": "operation=UPDATE"})
    assert saved.status_code in (200, 302)
    assert not SavedView.objects.using("other").exists()
    assert [view.name for view in SavedView.objects.using("default")] == ["mine"]


def test_the_history_of_an_object_is_shown_from_the_log_that_has_it(
    admin_client: Client, logs: list[Change]
) -> None:
    assert chosen(admin_client, f"{LIST}timeline/todos/tag/2/") == "other"
    assert chosen(admin_client, f"{LIST}timeline/todos/todo/1/") == "default"
    admin_client.get(LIST, {"log": "other"})
    assert chosen(admin_client, f"{LIST}timeline/todos/todo/1/") == "default"


def test_a_file_that_is_sent_by_an_asgi_server_is_of_the_chosen_log(logs: list[Change]) -> None:
    first, second = logs
    user = get_user_model().objects.create_superuser("ann", password="x")

    async def exported(log: str) -> str:
        client = AsyncClient()
        await sync_to_async(client.force_login)(user)
        await client.get(LIST, {"log": log})
        response: Any = await client.get(f"{LIST}export/", {"format": "jsonl"})
        parts = [part async for part in response.streaming_content]
        await sync_to_async(connections.close_all)()
        return b"".join(parts).decode()

    for log, own, foreign in (("other", second, first), ("default", first, second)):
        lines = asyncio.run(exported(log))
        assert str(own.pk) in lines and str(foreign.pk) not in lines


def test_without_several_logs_there_is_nothing_to_choose(admin_client: Client, rf: Any) -> None:
    assert choices(rf.get("/")) == []
    assert 'href="?log=' not in admin_client.get(LIST).content.decode()


@pytest.mark.parametrize("log", ["other", "*"])
def test_a_log_that_cannot_be_reached_is_named_and_another_one_offered(
    admin_client: Client, logs: list[Change], monkeypatch: pytest.MonkeyPatch, log: str
) -> None:
    other = connections["other"]
    other.close()
    with monkeypatch.context() as patch:
        patch.setitem(other.settings_dict, "PORT", "1")
        page = admin_client.get(f"{LIST}?log={log}", follow=True)
        assert page.status_code == 503
        assert "The log other cannot be read at the moment." in page.content.decode()
        assert "?log=default" in page.content.decode()
        assert admin_client.get(f"{LIST}?log=default", follow=True).status_code == 200


def move_to_other(changes: list[Change]) -> None:
    """Let the second log have changes, and no longer the first one."""
    for change in changes:
        with connections["other"].cursor() as cursor:
            cursor.execute("SELECT _bemi.partition_v1(%s)", [change.committed_at])
        change.save(using="other", force_insert=True)
        Change.objects.using("default").filter(pk=change.pk).delete()


def test_all_logs_are_one_list(
    admin_client: Client, logs: list[Change], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ListedLogs, "page", partialmethod(ListedLogs.page, size=4))
    made = [record(number, primary_key=str(number)) for number in range(3, 15)]
    move_to_other(made[::3] + made[1::3])
    # One that both have, since the division was changed.
    Change.objects.using("other").get(pk=made[0].pk).save(using="default", force_insert=True)
    admin_client.get(LIST, {"log": "*"})
    response = admin_client.get(LIST, {"view": "rows"})
    assert [log.alias for log in response.context["logs"] if log.is_chosen] == [""]
    page = response.content.decode()
    assert 'aria-current="true">All logs</a>' in page
    assert "are shown for one log: choose it above" in page
    refused = admin_client.get(f"{LIST}export/", {"format": "csv", "view": "rows"})
    assert refused.status_code == 400
    assert "An export is of one log. Choose it above." in refused.content.decode()
    seen: list[Any] = []
    places, newer = [], []
    while True:
        rows = response.context["rows"]
        for row in rows:
            assert f'title="Log">{row.change.destination}</span>' in response.content.decode()
        seen += [row.change for row in rows]
        places.append([row.change.pk for row in rows])
        newer.append(response.context["newer"])
        if response.context["older"] is None:
            break
        response = admin_client.get(f"{LIST}{response.context['older']}")
    everywhere = list(Change.objects.everywhere().desc())
    assert [change.pk for change in seen] == [change.pk for change in everywhere]
    assert {change.destination for change in seen} == {"default", "other"}
    assert [len(one) for one in places] == [4, 4, 4, 2]
    # And back to the present.
    for number in range(2, -1, -1):
        response = admin_client.get(f"{LIST}{newer[number + 1]}")
        assert [row.change.pk for row in response.context["rows"]] == places[number]
    # Filters and search ask each log.
    found = admin_client.get(LIST, {"view": "rows", "q": "pk:5"}).context["rows"]
    assert [row.change.pk for row in found] == [c.pk for c in everywhere if c.primary_key == "5"]
    # The page of a change, and of its transaction, is of the log that has it.
    for change in seen:
        assert chosen(admin_client, f"{LIST}{change.pk}/change/") == change.destination
        assert admin_client.get(f"{LIST}transaction/{change.pk}/").status_code == 200
    for other in ("activity", "health", "deleted"):
        assert chosen(admin_client, f"{LIST}{other}/") == "default"


def test_an_action_has_its_changes_of_all_logs(
    admin_client: Client, logs: list[Change], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bemi_django.admin.search.action_search.SIZE", 2)
    monkeypatch.setattr("bemi_django.admin.search.action_search.WINDOW", 3)
    first = record(20, context={"request_id": "q1"})
    second = record(21, context={"request_id": "q1"})
    third = record(22, context={"request_id": "q2"})
    move_to_other([second])
    admin_client.get(LIST, {"log": "*"})
    response = admin_client.get(LIST)
    found = [sorted(row.change.pk for row in line.rows) for line in response.context["actions"]]
    assert found == [[third.pk], sorted([first.pk, second.pk])]
    request = admin_client.get(f"{LIST}request/", {"id": "q1"})
    assert request.context["count"] == 2
    assert request.context["revert"] is None
    assert request.context["tree"] is None
    move_to_other([record(23, context={"request_id": "q0", "parent_request_id": "q1"})])
    assert admin_client.get(f"{LIST}request/", {"id": "q1"}).context["tree"] is not None
    assert admin_client.get(f"{LIST}request/", {"id": "q3"}).status_code == 404
    last = admin_client.get(f"{LIST}{response.context['older']}")
    assert {row.change.destination for line in last.context["actions"] for row in line.rows} == {
        "default",
        "other",
    }
    assert last.context["older"] is None


def test_what_is_masked_or_out_of_sight_is_so_in_all_logs(logs: list[Change], settings: Any) -> None:
    _first, second = logs
    settings.BEMI_MASKED_FIELDS = ["tag.task", "todo.task"]
    client = visitor("bemi_django.view_change")
    client.get(LIST, {"log": "*"})
    for view in ("rows", "actions"):
        page = client.get(LIST, {"view": view}).content.decode()
        assert ">default</span>" in page and ">other</span>" in page
        assert MASK in page
        assert "Wake up" not in page
    settings.BEMI_ADMIN_SCOPE = f"{__name__}.own_scope"
    rows = client.get(LIST, {"view": "rows"}).context["rows"]
    assert [(row.change.pk, row.change.destination) for row in rows] == [(second.pk, "other")]


@pytest.mark.parametrize("way", ["change", "transaction", "since", "undo"])
def test_a_revert_is_of_the_log_that_has_the_change(
    admin_client: Client, logs: list[Change], way: str
) -> None:
    admin_client.get(LIST, {"log": "*"})
    page = f"{LIST}revert/?{way}={logs[1].pk}"
    # There is no revert yet that could be undone.
    assert admin_client.get(page).status_code == (302 if way == "undo" else 200)
    assert way == "undo" or chosen(admin_client, page) == "other"


def test_a_restore_has_the_members_that_another_log_has(logs: list[Change], settings: Any) -> None:
    settings.BEMI_DESTINATIONS = {"other": {"tables": ["public.todo_tags"]}}
    todo = Todo.objects.create(pk=1, task="Wake up")
    todo.tags.add(Tag.objects.create(pk=7, name="late"))
    member = Todo.tags.through.objects.get()
    after = {"id": member.pk, "todo_id": 1, "tag_id": 7}
    added = record(
        3, table="todo_tags", primary_key=str(member.pk), operation="CREATE", before={}, after=after
    )
    added.save(using="other", force_insert=True)
    Change.objects.using("default").filter(pk=added.pk).delete()
    plan = todo.history.restore(logs[0], dry_run=True)
    assert [(step.table, step.action) for step in plan.steps] == [("todo_tags", "delete")]
    # One log alone was asked for.
    assert not Change.objects.using("default").for_object(todo).restore(logs[0], dry_run=True).steps
    assert not todo.history.using("default").restore(logs[0], dry_run=True).steps


def own_scope(request: Any, changes: Any) -> Any:
    return changes.filter(table="tag")
