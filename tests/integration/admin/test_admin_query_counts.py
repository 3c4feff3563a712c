"""Pages ask as much of the database for much as for little."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.db import connection, transaction
from django.forms.models import model_to_dict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bemi_django.models import DeadLetter
from sample_project.todos.models import Tag, Todo
from tests.shop.models import Category, Order, Product
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


def test_the_pages_of_an_object_with_many_changes_take_as_many_queries_as_those_of_one_with_few(
    queries: Callable[[str], int], django_user_model: Any
) -> None:
    todo = Todo.objects.create(task="Sleep")
    pages = [f"timeline/todos/todo/{todo.pk}/{query}" for query in ("", "?related=all", "?field=owner_id")]
    pages += ["", "?view=rows", "?view=rows&raw", "deleted/", "request/?id=r1"]

    def work(first: int, count: int) -> None:
        for number in range(first, first + count):
            context = {"request_id": "r1", "endpoint": "/x/"}
            users = [django_user_model.objects.create_user(f"u{number}-{side}") for side in range(2)]
            before, after = ({"id": todo.pk, "task": "Sleep", "owner_id": user.pk} for user in users)
            context |= {"user_id": users[0].pk}
            record(number, primary_key=str(todo.pk), before=before, after=after, context=context)
            gone = {**before, "id": 10**6 + number}
            row = {"primary_key": str(gone["id"]), "context": context, "ordinal": 1}
            record(number, operation="DELETE", before=gone, after={}, **row)
            tag = Tag.objects.create(name=f"tag {number}")
            todo.tags.add(tag)
            link = Todo.tags.through.objects.get(tag=tag)
            after = {"id": link.pk, "todo_id": todo.pk, "tag_id": tag.pk}
            row = {"table": "todo_tags", "primary_key": str(link.pk), "context": context, "ordinal": 2}
            record(number, operation="CREATE", before={}, after=after, **row)

    # Of actions with more changes, a part is read.
    work(1, 8)
    few = [queries(page) for page in pages]
    work(9, 8)
    assert [queries(page) for page in pages] == few, pages


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


def test_a_plan_that_brings_back_many_rows_with_a_deleted_one_takes_as_many_queries_as_one_with_few(
    queries: Callable[[str], int], django_user_model: Any
) -> None:
    """Rows that were deleted by a generic relation, and rows whose reference was set to NULL."""
    kind = ContentType.objects.get_for_model(Order)

    def plan(number: int, count: int) -> tuple[int, int]:
        order = {"id": number, "number": str(number), "placed_at": "2026-01-01T00:00:00+00:00"}
        gone = {"operation": "DELETE", "after": {}}
        for note in range(count):
            row = {"id": number * 100 + note, "kind_id": kind.pk, "object_id": str(number), "text": "x"}
            record(number, ordinal=note, table="shop_note", primary_key=str(row["id"]), before=row, **gone)
        order_gone = record(
            number, ordinal=count, table="shop_order", primary_key=str(number), before=order, **gone
        )
        user = model_to_dict(django_user_model(pk=number, username=f"u{number}"), exclude=["groups"])
        user = {name: value for name, value in user.items() if name != "user_permissions"}
        user |= {"date_joined": "2026-01-01T00:00:00+00:00", "last_login": None}
        for _ in range(count):
            todo = Todo.objects.create(task="Sleep")
            rows = ({"id": todo.pk, "owner_id": owner} for owner in (number, None))
            sides = dict(zip(("before", "after"), rows, strict=True))
            record(number + 1, ordinal=todo.pk % 1000, primary_key=str(todo.pk), **sides)
        user_gone = record(
            number + 1, ordinal=5000, table="auth_user", primary_key=str(number), before=user, **gone
        )
        pages = [f"revert/?change={change.pk}" for change in (order_gone, user_gone)]
        return queries(pages[0]), queries(pages[1])

    assert plan(1001, 3) == plan(1003, 12)


def test_a_plan_by_which_the_database_deletes_many_rows_takes_as_many_queries_as_one_for_few(
    queries: Callable[[str], int],
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE shop_product ADD FOREIGN KEY (category_id) REFERENCES shop_category"
            " ON DELETE CASCADE"
        )

    def plan(number: int, count: int) -> int:
        category = Category.objects.create(name=str(number))
        for product in range(count):
            Product.objects.create(sku=f"{number}-{product}", category=category)
        row = {"id": category.pk, "name": category.name}
        made = {"table": "shop_category", "primary_key": str(category.pk), "operation": "CREATE"}
        return queries(f"revert/?change={record(number, before={}, after=row, **made).pk}")

    assert plan(1, 3) == plan(2, 12)


def test_a_plan_reads_what_the_database_deletes_with_several_rows_at_once(admin_client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE shop_product ADD FOREIGN KEY (category_id) REFERENCES shop_category"
            " ON DELETE CASCADE"
        )
    for number in range(3):
        category = Category.objects.create(name=str(number))
        Product.objects.create(sku=str(number), category=category)
        row = {"id": category.pk, "name": category.name}
        made = {"table": "shop_category", "primary_key": str(category.pk), "operation": "CREATE"}
        change = record(1, ordinal=number, before={}, after=row, **made)
    with CaptureQueriesContext(connection) as found:
        assert admin_client.get(f"{LIST}revert/?transaction={change.pk}").status_code == 200
    assert sum('"shop_product"."id" IN (' in query["sql"] for query in found) == 1


def test_a_plan_reads_other_changes_of_its_transactions_by_their_ids(
    admin_client: Client, django_user_model: Any
) -> None:
    """An index on the ids answers that, however long the log is."""
    user = django_user_model.objects.create_user("gone")
    given = model_to_dict(user).items()
    row: dict[str, Any] = {name: value for name, value in given if isinstance(value, (str, int))}
    row |= {"date_joined": "2026-01-01T00:00:00+00:00", "last_login": None}
    todo = Todo.objects.create(task="Sleep")
    sides = {"before": {"id": todo.pk, "owner_id": user.pk}, "after": {"id": todo.pk, "owner_id": None}}
    record(1, primary_key=str(todo.pk), **sides)
    gone = {"table": "auth_user", "primary_key": str(user.pk), "operation": "DELETE", "after": {}}
    change = record(1, ordinal=1, before=row, **gone)
    user.delete()
    with CaptureQueriesContext(connection) as found:
        assert admin_client.get(f"{LIST}revert/?change={change.pk}").status_code == 200
    learned = [query["sql"] for query in found if query["sql"].startswith('SELECT "changes"."schema"')]
    assert len(learned) > 1
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for statement in learned:
            cursor.execute(f"EXPLAIN {statement}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Index Cond: ((id" in plan or "Index Cond: (id" in plan, plan


@pytest.mark.parametrize("number", [0, 13])
def test_a_row_that_cannot_be_read_takes_few_queries_more(admin_client: Client, number: int) -> None:
    def counted() -> int:
        cache.clear()
        with CaptureQueriesContext(connection) as found:
            text = admin_client.get(f"{LIST}?view=rows").content.decode()
        assert all(f">{todo.task}<" in text for todo in todos)
        return sum('FROM "todo"' in query["sql"] for query in found)

    todos = [Todo.objects.create(task=f"Task {number}") for number in range(30)]
    for position, todo in enumerate(todos, 1):
        record(position, primary_key=str(todo.pk), before={"id": todo.pk}, after={"id": todo.pk, "x": 1})
    few = counted()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE todo SET created_at = '20000-01-01' WHERE id = %s", [todos[number].pk])
    assert counted() <= few + 18


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
