"""The page of one change in the admin."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from bemi_django.models import Change
from sample_project.todos.models import Todo
from tests.support.audit import LIST, record
from tests.support.pipeline import Drain


def shown(client: Client, change: Change) -> Any:
    response = client.get(f"{LIST}{change.pk}/change/")
    assert response.status_code == 200
    return response


def test_changed_fields_come_first_and_are_marked_inside_the_value(admin_client: Client) -> None:
    change = record(
        1,
        before={"id": 1, "task": "Buy milk today", "data": {"a": 1, "b": [1, 2]}, "done": False},
        after={"id": 1, "task": "Buy bread today", "data": {"a": 2, "b": [1, 2]}, "done": False},
    )
    response = shown(admin_client, change)
    assert [field.value.name for field in response.context["changed"]] == ["data", "task"]
    assert [field.value.name for field in response.context["unchanged"]] == ["done", "id"]
    text = response.content.decode()
    assert ">Buy <mark>milk</mark> today</div>" in text
    assert ">Buy <mark>bread</mark> today</div>" in text
    assert "&quot;a&quot;: <mark>2</mark>,\n" in text
    assert "2 unchanged fields" in text


def test_the_context_is_a_card_with_the_sql_laid_out(admin_client: Client) -> None:
    sql = "update todo set task = %s where id = %s and done"
    response = shown(admin_client, record(1, context={"user_id": 7, "SQL": sql, "nested": {"a": [1]}}))
    assert [(line.label, line.text) for line in response.context["context"]] == [
        ("User", "7"),
        ("nested", '{\n  "a": [\n    1\n  ]\n}'),
    ]
    assert response.context["sql"].splitlines()[:2] == ["UPDATE todo", "SET task = %s"]


def test_who_why_and_the_history_of_a_field_are_one_look_or_step_away(
    admin_client: Client, admin_user: Any
) -> None:
    admin_user.username = "admin\u202e"
    admin_user.save()
    response = shown(admin_client, record(1, context={"user_id": admin_user.pk, "reason": "late\u202e"}))
    assert response.context["actor"].label == "admin⟨rlo⟩"
    lines = {line.name: (line.text, line.key) for line in response.context["context"]}
    assert lines == {"reason": ("late⟨rlo⟩", ""), "user_id": ("admin⟨rlo⟩", str(admin_user.pk))}
    text = response.content.decode()
    assert '<q class="bemi-because">late⟨rlo⟩</q>' in text
    assert f'<a href="{LIST}timeline/todos/todo/1/?field=task" title="History">task</a>' in text


def test_the_connection_is_shown_and_found(admin_client: Client) -> None:
    connection = {"role": "shop", "application_name": "psql", "address": "192.0.2.7", "pid": 4711}
    change = record(1, context={"connection": connection})
    record(2, context={"connection": {**connection, "role": "other"}})
    (line,) = shown(admin_client, change).context["context"]
    assert line[:3] == ("connection", "Connection", "role shop from 192.0.2.7, pid 4711, psql") and line.url
    for address in (line.url, LIST + '?q={"connection": {"role": "shop"}}'):
        lines = admin_client.get(address).context["actions"]
        assert [line.last.pk for line in lines] == [change.pk]


def test_a_context_is_told_in_words_and_raw(admin_client: Client) -> None:
    context = {"method": "GET", "endpoint": "/a/", "user_id": None, "retries": 0, "is_test": True, "ip": ""}
    change = record(1, context=context)
    lines = shown(admin_client, change).context["context"]
    assert [(line.label, line.text, line.is_word) for line in lines] == [
        ("User", "visitor", True),
        ("Endpoint", "/a/", False),
        ("Retries", "0", False),
        ("From", "empty text", True),
        ("is_test", "yes", False),
    ]
    assert (lines[1].before.text, lines[1].before.url) == ("GET", f"{LIST}?q=method%3DGET")
    raw = admin_client.get(f"{LIST}{change.pk}/change/?raw").context["context"]
    assert {line.label: line.text for line in raw} == {
        "method": "GET", "endpoint": "/a/", "user_id": "null", "retries": "0", "is_test": "true", "ip": '""'
    }  # fmt: skip


def test_the_changes_of_its_transaction_and_of_its_request_are_listed(admin_client: Client) -> None:
    change = record(1)
    record(1, ordinal=1, primary_key="2")
    record(2, context={"request_id": "r1"})
    record(3)
    # Another database of the same server has positions of its own.
    record(1, ordinal=2, database="elsewhere", context={})
    context = shown(admin_client, change).context
    assert [row.change.primary_key for row in context["transaction"]] == ["2"]
    assert [row.change.position for row in context["request_rows"]] == [16]


def test_the_object_s_changes_before_and_after_are_one_step_away(admin_client: Client) -> None:
    first, other, second, third = (
        record(1),
        record(2, primary_key="2"),
        record(3, primary_key="9", previous_primary_key="1"),
        record(4, primary_key="9"),
    )
    assert [shown(admin_client, second).context[name] for name in ("previous", "following")] == [first, third]
    assert [shown(admin_client, other).context[name] for name in ("previous", "following")] == [None, None]


def test_it_is_copied_as_json(admin_client: Client) -> None:
    change = record(1, after={"task": "<é>"})
    copied = json.loads(shown(admin_client, change).context["as_json"])
    assert copied["id"] == str(change.pk)
    assert copied["after"] == {"task": "<é>"}


def test_copied_as_sql_it_does_the_same_again(admin_client: Client, drain: Drain) -> None:
    todo = Todo.objects.create(task="It's \\ 100% “new” \n")
    (created,) = drain()
    Todo.objects.update(task="other", is_completed=True)
    (updated,) = drain()
    todo.delete()
    (deleted,) = drain()
    for change, expected in [
        (created, [("It's \\ 100% “new” \n", False)]),
        (updated, [("other", True)]),
        (deleted, []),
    ]:
        with connection.cursor() as cursor:
            cursor.execute(shown(admin_client, change).context["as_sql"])
        assert list(Todo.objects.values_list("task", "is_completed")) == expected


@pytest.mark.parametrize("operation", ["TRUNCATE", "SKIPPED", "GAP"])
def test_a_change_of_no_row_has_a_page(admin_client: Client, operation: str) -> None:
    change = record(1, operation=operation, before={}, after={}, primary_key=None)
    assert "This change has no row values." in shown(admin_client, change).content.decode()


def test_a_value_that_is_not_known_says_so(admin_client: Client) -> None:
    change = record(1, before={"id": 1}, after={"id": 1}, unavailable={"before": ["task"], "after": ["task"]})
    assert "not known" in shown(admin_client, change).content.decode()
    assert shown(admin_client, change).context["as_sql"] is None


def test_a_table_without_a_model_has_a_page(admin_client: Client) -> None:
    change = record(1, table='strange" table', schema="else where", primary_key='[1, "a"]')
    assert shown(admin_client, change).context["about"].label == '[1, "a"]'


def test_what_is_no_change_is_not_found(admin_client: Client, db: None) -> None:
    assert admin_client.get(f"{LIST}00000000-0000-8000-8000-000000000000/change/").status_code == 404
    assert admin_client.get(f"{LIST}1/change/").status_code == 404


def test_stored_markup_stays_text(admin_client: Client) -> None:
    evil = "</pre><script>alert(1)</script>"
    change = record(
        1,
        before={evil: evil},
        after={evil: {"a": evil}},
        context={"SQL": f"SELECT '{evil}'", evil: evil, "request_id": evil},
        partition=evil,
        previous_primary_key=evil,
    )
    assert "<script>alert" not in shown(admin_client, change).content.decode()


@pytest.mark.parametrize("levels", [300, 900, 2000])
def test_a_value_nested_without_end_hides_nothing_else(admin_client: Client, levels: int) -> None:
    change, other = record(1), record(2)
    deep = f'{{"task": {"[" * levels}1{"]" * levels}}}'
    with connection.cursor() as cursor:
        cursor.execute("UPDATE changes SET after = %s, before = %s WHERE id = %s", [deep, deep, change.pk])
    (above, below) = admin_client.get(f"{LIST}?view=rows").context["rows"]
    assert (above.change, below.change) == (other, change)
    shown(admin_client, change)
    shown(admin_client, other)
    for path in ("", f"transaction/{change.pk}/", "timeline/todos/todo/1/", "activity/", "deleted/"):
        assert admin_client.get(f"{LIST}{path}").status_code in (200, 404)
    exported: Any = admin_client.get(f"{LIST}export/?format=jsonl")
    assert len(b"".join(exported.streaming_content).splitlines()) == 2
    assert admin_client.get(f"{LIST}revert/?change={change.pk}").status_code == 200


def test_a_change_stands_in_its_own_sequence_and_what_is_left_out_is_said(admin_client: Client) -> None:
    changes = [record(1, ordinal=number, primary_key=str(number)) for number in range(40)]
    for position, lacks in ((0, "Later"), (20, "Earlier and later"), (39, "Earlier")):
        response = shown(admin_client, changes[position])
        keys = [row.change.primary_key for row in response.context["transaction_sequence"].rows]
        assert str(position) in keys and len(keys) == 21
        assert keys == sorted(keys, key=int)
        text = response.content.decode()
        assert f"{lacks} changes are not shown." in text
        assert "?q=transaction%3A1" in text
        assert text.count('aria-current="true"') >= 1
    few = shown(admin_client, record(2, context={})).content.decode()
    assert "not shown" not in few
