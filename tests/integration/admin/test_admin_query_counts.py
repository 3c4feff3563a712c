"""Pages ask as much of the database for much as for little."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bemi_django.models import DeadLetter
from sample_project.todos.models import Tag, Todo
from tests.support.activity import recount
from tests.support.audit import LIST, record
from tests.support.pipeline import Drain

pytestmark = pytest.mark.django_db(databases=["default", "other"])


@pytest.fixture
def queries(admin_client: Client) -> Callable[[str], int]:
    """Return how many queries a page takes, the first visit of the process not counted."""

    def counted(address: str) -> int:
        for _ in range(2):
            cache.clear()
            with CaptureQueriesContext(connection) as found:
                assert admin_client.get(f"{LIST}{address}").status_code == 200
        return len(found)

    return counted


def test_the_activity_of_many_takes_as_many_queries_as_that_of_few(
    queries: Callable[[str], int], django_user_model: Any
) -> None:
    numbers = iter(range(1, 1000))

    def work(count: int) -> None:
        for number in range(count):
            person = django_user_model.objects.create_user(f"u{next(numbers)}")
            person.groups.add(Group.objects.create(name=f"g{person.pk}"))
            todo = Todo.objects.create(task=f"Task {person.pk}")
            context = {"user_id": person.pk, "endpoint": f"/p{number}/", "method": "POST"}
            record(next(numbers), primary_key=str(todo.pk), context=context)
            record(next(numbers), table="tag", context={"task": f"job{number}", "db_user": "x"})
        recount()

    work(2)
    few = queries("activity/")
    work(15)
    assert queries("activity/") == few


def test_the_health_of_many_findings_takes_as_many_queries_as_that_of_few(
    queries: Callable[[str], int],
) -> None:
    def find(first: int) -> None:
        for number in range(first, first + 5):
            record(number, operation="GAP", table="", primary_key=None, before={}, after={})
            DeadLetter.objects.create(
                slot="s", position=8, message=b"x", origin={}, reason="r", created_at=timezone.now()
            )

    find(1)
    few = queries("health/")
    find(10)
    assert queries("health/") == few


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_plan_for_many_rows_takes_as_many_queries_as_one_for_few(
    queries: Callable[[str], int], drain: Drain
) -> None:
    def plan(count: int) -> int:
        with transaction.atomic():
            for number in range(count):
                Tag.objects.create(name=f"{count}-{number}")
                Todo.objects.filter(task=f"Task {number}").update(is_completed=count % 2 == 0)
        change = drain()[-1]
        return queries(f"revert/?transaction={change.pk}")

    for number in range(12):
        Todo.objects.create(task=f"Task {number}")
    drain()
    assert plan(4) == plan(12)


def test_a_plan_over_many_tables_takes_one_query_more_for_the_rows_of_each(
    queries: Callable[[str], int],
) -> None:
    def plan(first: int, count: int) -> int:
        for number in range(count):
            name = f"planned_{first}_{number}"
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, note text UNIQUE)")
                cursor.execute(f"INSERT INTO {name} VALUES (1, 'b')")  # noqa: S608 - ours
            rows = {"before": {"id": 1, "note": "a"}, "after": {"id": 1, "note": "b"}}
            change = record(first, ordinal=number, table=name, **rows)
        return queries(f"revert/?transaction={change.pk}")

    few = plan(1, 4)
    assert plan(2, 20) == few + 2 * 16


def test_pages_of_many_tables_without_models_take_as_many_queries_as_those_of_few(
    queries: Callable[[str], int],
) -> None:
    context = {"request_id": "r1"}

    def record_tables(first: int, count: int) -> None:
        for number in range(first, first + count):
            values = {"id": number, "password": "x"}
            for place in ({"table": f"gone_{number}"}, {"table": "kept", "schema": f"s{number}"}):
                record(number, ordinal="schema" in place, context=context, before=values, **place)

    record_tables(1, 3)
    pages = ("", "?view=rows", "request/?id=r1", "activity/", "deleted/")
    few = [queries(page) for page in pages]
    record_tables(4, 12)
    assert [queries(page) for page in pages] == few
