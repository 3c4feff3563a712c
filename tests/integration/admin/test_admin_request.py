"""The pages of a request and of a transaction."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from html import unescape
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bemi_django.admin.pages.requests import request_page, started_parts
from bemi_django.admin.pages.requests.started_parts import QUERIES
from bemi_django.models import Change
from sample_project.todos.models import Todo
from tests.support.audit import LIST, record, visitor
from tests.support.project_database import execute

CONTEXT = {
    # Of nobody, however many users tests have made.
    "user_id": 7_000_007,
    "endpoint": "/cart/",
    "request_id": "r",
    "parent_request_id": "p",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
}


def step(number: int, ordinal: int = 0, **fields: Any) -> Change:
    sql = fields.pop("sql", "UPDATE todo SET task = 'a' WHERE id = 1")
    more = fields.pop("more", {})
    return record(number, ordinal=ordinal, context={**CONTEXT, "SQL": sql, **more}, **fields)


def of_request(client: Client, request_id: str = "r") -> Any:
    return client.get(f"{LIST}request/", {"id": request_id})


def shown(response: Any) -> list[list[tuple[int, int, str, int]]]:
    """The steps by transaction: numbers, words and how many statements."""
    return [
        [
            (step.first, step.last, unescape(re.sub("<[^>]*>", "", step.sentence)), step.statements)
            for step in part.steps
        ]
        for part in response.context["transactions"]
    ]


def test_a_request_is_told_step_by_step(admin_client: Client) -> None:
    moment = "2026-03-01T10:00:00Z"
    step(1, 0, operation="CREATE", before={}, primary_key="3", committed_at=moment)
    for ordinal in range(1, 6):
        sql = "UPDATE todo SET task = 'x' WHERE id = %d"
        step(1, ordinal, primary_key=str(ordinal + 3), sql=sql % ordinal, committed_at=moment)
    later = "2026-03-01T10:00:00.089Z"
    for ordinal in range(2):
        more: dict[str, Any] = {"primary_key": str(ordinal), "more": {"task": "rank"}}
        step(2, ordinal, table="tag", sql="UPDATE tag", committed_at=later, **more)
    record(3)
    response = of_request(admin_client)
    assert shown(response) == [
        [(1, 1, "created todo Wake up", 1), (2, 6, "changed task of 5 todos", 5)],
        [(7, 8, "changed task of 2 tags", 1)],
    ]
    text = re.sub(r"\s+", " ", unescape(response.content.decode()))
    for part in ("8 changes in 3 steps", "89 ms later", "×5, equal but for the values", "of 2 changes"):
        assert part in text, part
    assert "89 ms from the first commit to the last" in text
    assert (
        "<title>user 7000007 created todo Wake up, changed task of 5 todos, changed task of 2 tags | Request"
        in text
    )
    assert f'href="{LIST}request/?id=p"' in text
    assert [line.name for line in response.context["facts"]][:2] == ["user_id", "endpoint"]
    assert "SQL" not in {line.name for line in response.context["facts"]}
    assert f'<a class="bemi-button" href="{LIST}?q=request%3A%22r%22&records=on&view=rows">' in text


def test_durations_count_from_when_the_request_began(admin_client: Client) -> None:
    began = datetime(2026, 3, 1, 10, tzinfo=timezone.utc)
    request = f"{int(began.timestamp() * 1000):012x}7{'0' * 3}8{'0' * 15}"
    for number, milliseconds in enumerate((38, 184), 1):
        committed_at = began + timedelta(milliseconds=milliseconds)
        step(number, committed_at=committed_at, more={"request_id": request})
    record(3, context={"parent_request_id": request}, committed_at=began + timedelta(seconds=20))
    response = of_request(admin_client, request)
    assert [part.later for part in response.context["transactions"]] == ["38 ms", "184 ms"]
    text = response.content.decode()
    assert "184 ms from the beginning to the last commit" in text and "38 ms after the beginning" in text
    top = response.context["tree"].top
    assert (top.later, top.took, top.parts[0].later, top.parts[0].took) == (
        "+0 ms",
        "184 ms",
        "+20 seconds",
        "",
    )


def test_all_of_it_is_copied_as_sql(admin_client: Client) -> None:
    first = step(1, operation="CREATE", before={}, after={"id": 1})
    step(1, 1, operation="SKIPPED", table="a\nDROP TABLE todo; --", before={}, after={})
    step(2, operation="DELETE", before={"id": 1}, after={})
    sql = of_request(admin_client).context["sql"]
    assert re.findall(r"^(?!SELECT|FROM|WHERE)(\S+)", sql, re.MULTILINE) == [
        "BEGIN;", "INSERT", "--", "COMMIT;", "BEGIN;", "DELETE", "COMMIT;"
    ]  # fmt: skip
    assert sql.startswith(f"BEGIN; -- 1, {first.committed_at.isoformat()}")
    assert "\nDROP" not in sql


def test_a_transaction_has_a_page_by_any_of_its_changes(admin_client: Client) -> None:
    first = record(1)
    last = record(1, ordinal=1, primary_key="2")
    record(2)
    other = record(1, ordinal=2, database="elsewhere", transaction_id=9)
    for change in (first, last):
        response = admin_client.get(f"{LIST}transaction/{change.pk}/")
        assert [(one[0], one[1]) for one in shown(response)[0]] == [(1, 2)]
        assert response.context["transaction_id"] == "1"
    assert len(admin_client.get(f"{LIST}transaction/{other.pk}/").context["transactions"]) == 1
    removed = UUID(int=first.pk.int + 5)
    assert admin_client.get(f"{LIST}transaction/{removed}/").status_code == 200
    assert admin_client.get(f"{LIST}transaction/{UUID(int=0)}/").status_code == 404


@pytest.mark.parametrize("request_id", ["", "nosuch", "\0", "x" * 5000, "'\"<"])
def test_a_request_that_is_not_there_is_not_found(admin_client: Client, request_id: str) -> None:
    record(1)
    assert of_request(admin_client, request_id).status_code == 404


def test_what_does_not_fit_is_said(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_page, "MOST", 3)
    for ordinal in range(4):
        change = step(1, ordinal, primary_key=str(ordinal))
    for response in (of_request(admin_client), admin_client.get(f"{LIST}transaction/{change.pk}/")):
        assert response.context["count"] == 3
        assert "There are more changes than this page shows." in response.content.decode()
        assert response.context["sql"].endswith("-- These are the first 3 changes. There are more.")
        assert "more than 2 todos" in response.context["sentence"]


def refuse(*_: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 1")
        cursor.execute("SELECT pg_catalog.pg_sleep(9)")


def test_a_request_too_slow_to_be_found_says_so(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    step(1)
    monkeypatch.setattr(request_page, "read_changes", refuse)
    assert "takes too long" in of_request(admin_client).content.decode()


def tree(response: Any) -> list[tuple[str, int, str | None]]:
    """What a request has started: labels, depths and addresses."""
    found = response.context["tree"]
    waiting = [(found.top, 0)] if found else []
    flat = []
    while waiting:
        part, depth = waiting.pop()
        flat.append((part.label, depth, part.url))
        waiting += [(below, depth + 1) for below in reversed(part.parts)]
    return flat


def started() -> None:
    """A request that publishes a task, which publishes another one, and sends a request, which sends one."""
    step(1)
    step(2, more={"task": "mail", "task_id": "t"})
    record(3, context={"request_id": "s", "parent_request_id": "r", "method": "POST", "endpoint": "/pay/"})
    record(4, context={"task": "book", "task_id": "u", "parent_task_id": "t"})
    record(5, context={"request_id": "v", "parent_request_id": "s"}, table="tag")


def test_what_a_request_has_started_is_a_tree(admin_client: Client) -> None:
    step(1)
    assert of_request(admin_client).context["tree"] is None
    Change.objects.all().delete()
    started()
    with CaptureQueriesContext(connection) as queries:
        response = of_request(admin_client)
    assert tree(response) == [
        ("/cart/", 0, None),
        ("Task mail", 1, f"{LIST}request/?task_id=t"),
        ("Task book", 2, f"{LIST}request/?task_id=u"),
        ("POST /pay/", 1, f"{LIST}request/?id=s"),
        ("Request v", 2, f"{LIST}request/?id=v"),
    ]
    assert sum('"parent_' in query["sql"] and "FROM" in query["sql"] for query in queries) == QUERIES
    top = response.context["tree"].top
    assert (top.x, top.later, top.changes) == ("0.00", "+0 ms", 1)
    assert 0 < float(top.parts[0].x) < float(top.parts[1].x) < 100
    assert response.context["tree"].search == f"{LIST}?q=parent_request_id%3Dr"
    # The request in which a task was published, and what else that has started, is no part of the task.
    of_task = admin_client.get(f"{LIST}request/", {"task_id": "t"})
    assert [name for name, *_ in tree(of_task)] == ["Task mail", "Task book"]


def test_a_tree_that_is_not_whole_says_so(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    started()
    monkeypatch.setattr(started_parts, "SHOWN", 1)
    assert "The first part is shown. There may be more." in of_request(admin_client).content.decode()
    monkeypatch.setattr(started_parts, "read_changes", refuse)
    text = of_request(admin_client).content.decode()
    assert "Finding everything that it started takes too long." in text
    assert f'<a href="{LIST}?q=parent_request_id%3Dr">Their changes in the list</a>' in text


@pytest.mark.parametrize(
    ("hidden", "labels"),
    [
        ("context->endpoint", ["***", "Task mail", "Task book", "POST ***"]),
        ("context->task", ["/cart/", "Task ***", "Task ***", "POST /pay/"]),
        ("context->task_id", ["/cart/", "POST /pay/"]),
        ("context->parent_request_id", ["/cart/", "Task mail", "Task book"]),
    ],
)
def test_a_tree_has_only_what_the_viewer_may_see(
    db: None, settings: Any, hidden: str, labels: list[str]
) -> None:
    settings.BEMI_MASKED_FIELDS = [hidden]
    settings.BEMI_ADMIN_SCOPE = f"{__name__}.only_todos"
    started()
    client = visitor("bemi_django.view_change", "todos.view_todo")
    assert [name for name, *_ in tree(of_request(client))] == labels


def test_it_is_reverted_from_there_by_those_who_may(admin_client: Client) -> None:
    todo = Todo.objects.create(pk=1, task="Wake up")
    change = step(1, primary_key=str(todo.pk))
    assert of_request(admin_client).context["revert"] == f"{LIST}revert/?request={change.pk}"
    url = f"{LIST}transaction/{change.pk}/"
    assert admin_client.get(url).context["revert"] == f"{LIST}revert/?transaction={change.pk}"
    curious = visitor("bemi_django.view_change", "todos.view_todo")
    assert curious.get(url).context["revert"] is None
    assert visitor(name="nobody").get(url).status_code == 403


def only_todos(request: Any, changes: Any) -> Any:
    return changes.filter(table="todo")


def test_masks_and_scopes_hold(db: None, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["todo.task"]
    settings.BEMI_ADMIN_SCOPE = f"{__name__}.only_todos"
    change = step(1, sql="UPDATE todo SET task = 'Wake up'")
    step(1, 1, table="tag", after={"id": 1, "name": "hidden-tag"})
    hidden = step(2, table="tag", more={"request_id": "t"})
    client = visitor("bemi_django.view_change", "todos.view_todo")
    for response in (of_request(client), client.get(f"{LIST}transaction/{change.pk}/")):
        text = response.content.decode()
        assert "Wake up" not in text and "hidden-tag" not in text
        assert "is not repeated here" in text
    assert client.get(f"{LIST}transaction/{hidden.pk}/").status_code == 404
    assert of_request(client, "t").status_code == 404


def test_a_masked_request_id_leads_nowhere(db: None, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["context->request_id"]
    change = step(1)
    client = visitor("bemi_django.view_change", "todos.view_todo")
    assert of_request(client).status_code == 404
    (line,) = client.get(LIST).context["actions"]
    assert line.url == f"{LIST}transaction/{change.pk}/"
    page = client.get(f"{LIST}{change.pk}/change/")
    assert page.context["run"] is None


def test_many_steps_take_few_queries(admin_client: Client, django_assert_max_num_queries: Any) -> None:
    for ordinal in range(40):
        step(1, ordinal, table="tag" if ordinal % 2 else "todo", primary_key=str(ordinal))
    execute("ANALYZE changes")
    of_request(admin_client)
    with django_assert_max_num_queries(70):
        assert len(shown(of_request(admin_client))[0]) == 40
