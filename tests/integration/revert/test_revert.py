"""Undo changes as the worker wrote them: the plan, its conflicts, and what comes of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from bemi_django import bound_context, conf
from bemi_django.exceptions import PastIsReadOnly, RevertConflict
from bemi_django.models import Change
from bemi_django.time_travel import as_of
from sample_project.todos.models import Tag, Todo
from tests.shop.models import Category, Note, Order, Product, Review
from tests.support.pipeline import Drain
from tests.support.polling import until
from tests.support.travel import settled


def rows(table: str = "todo") -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1")  # noqa: S608
        return [row for (row,) in cursor.fetchall()]


def kinds(plan: Any) -> list[str]:
    return [conflict.kind for conflict in plan.conflicts]


def test_an_update_is_undone_and_what_others_changed_stays(drain: Drain) -> None:
    todo = Todo.objects.create(task="Sleep")
    drain()
    Todo.objects.update(task="Dream")
    (change,) = drain()
    Todo.objects.update(is_completed=True)
    plan = change.revert(dry_run=True)
    (step,) = plan.steps
    assert (step.action, dict(step.values), plan.is_applied) == ("update", {"task": "Sleep"}, False)
    todo.refresh_from_db()
    assert todo.task == "Dream"
    assert change.revert().is_applied
    todo.refresh_from_db()
    assert (todo.task, todo.is_completed) == ("Sleep", True)


def test_a_creation_is_undone_by_deletion(drain: Drain) -> None:
    Todo.objects.create(task="x")
    (change,) = drain()
    assert [step.action for step in change.revert().steps] == ["delete"]
    assert not Todo.objects.exists()
    assert [step.action for step in change.revert().steps] == ["nothing"]


def test_a_deleted_object_comes_back_with_what_referred_to_it(drain: Drain) -> None:
    todo = Todo.objects.create(task="x", owner=User.objects.create(username="ann"))
    todo.tags.set([Tag.objects.create(name="a"), Tag.objects.create(name="b")])
    drain()
    before = rows(), rows("todo_tags"), rows("tag")
    todo.delete()
    drain()
    assert rows() == []
    change = Change.objects.for_model(Todo).deleted().get()
    plan = change.revert()
    assert sorted(step.table for step in plan.steps) == ["todo", "todo_tags", "todo_tags"]
    assert (rows(), rows("todo_tags"), rows("tag")) == before


def test_rows_that_only_django_knew_to_refer_come_back(drain: Drain) -> None:
    product = Product.objects.create(sku="1", category=Category.objects.create(name="c"))
    Review.objects.create(product=product, text="good")
    drain()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE shop_review DROP CONSTRAINT shop_review_product")
    try:
        with transaction.atomic():
            Review.objects.all().delete()
            product.delete()
        drain()
        Change.objects.for_model(Product).deleted().get().revert()
        assert Review.objects.get().text == "good"
    finally:
        with connection.cursor() as cursor:
            cursor.execute(
                "ALTER TABLE shop_review ADD CONSTRAINT shop_review_product "
                "FOREIGN KEY (product_id) REFERENCES shop_product (id) ON DELETE CASCADE"
            )


def test_generic_relations_come_back_with_what_they_are_about(drain: Drain) -> None:
    order = Order.objects.create(number="1")
    Note.objects.create(about=order, text="late")
    Note.objects.create(about=Tag.objects.create(name="a"), text="of another")
    drain()
    before = rows("shop_order"), rows("shop_note")
    with transaction.atomic():
        Note.objects.all().delete()
        order.delete()
    drain()
    Change.objects.for_model(Note).deleted().get(before__text="of another").revert()
    Change.objects.for_model(Order).deleted().get().revert()
    assert (rows("shop_order"), rows("shop_note")) == before


def test_a_request_is_undone_as_a_whole_and_redone_by_reverting_the_revert(drain: Drain) -> None:
    old = Category.objects.create(name="old")
    Product.objects.create(sku="1", category=old, price="1.50")
    drain()
    before = rows("shop_category"), rows("shop_product")
    with bound_context(request_id="r1"):
        new = Category.objects.create(name="new")
        Product.objects.update(category=new, price="2.50")
        old.delete()
    drain()
    after = rows("shop_category"), rows("shop_product")
    with bound_context(request_id="r2"):
        Change.objects.in_request("r1").revert()
    assert (rows("shop_category"), rows("shop_product")) == before
    reverting = drain()
    assert all(change.context["request_id"] == "r2" for change in reverting)
    reverted = {id_ for change in reverting for id_ in change.context["reverts"]}
    assert reverted == {str(change.pk) for change in Change.objects.in_request("r1")}
    Change.objects.in_request("r2").revert()
    assert (rows("shop_category"), rows("shop_product")) == after


def test_a_row_that_was_changed_since_is_a_conflict(drain: Drain) -> None:
    Todo.objects.create(task="Sleep")
    Todo.objects.create(task="Eat")
    drain()
    with bound_context(request_id="r1"):
        Todo.objects.filter(task="Sleep").update(task="Dream")
        Todo.objects.filter(task="Eat").update(task="Fast")
    drain()
    # The log does not know of it yet.
    Todo.objects.filter(task="Dream").update(task="Wake")
    before = rows()
    changes = Change.objects.in_request("r1")
    with pytest.raises(RevertConflict, match='task is "Wake", not "Dream"') as refusal:
        changes.revert()
    assert kinds(refusal.value.plan) == ["changed_since"] and not refusal.value.plan.is_applied
    assert rows() == before
    plan = changes.revert(on_conflict="skip")
    assert [step.is_done for step in plan.steps if step.conflict] == [False]
    assert sorted(Todo.objects.values_list("task", flat=True)) == ["Eat", "Wake"]
    changes.revert(on_conflict="force")
    assert sorted(Todo.objects.values_list("task", flat=True)) == ["Eat", "Sleep"]


def test_a_parent_that_is_gone_is_a_conflict(drain: Drain) -> None:
    user = User.objects.create(username="ann")
    todo = Todo.objects.create(task="x", owner=user)
    drain()
    todo.delete()
    drain()
    user.delete()
    plan = Change.objects.for_model(Todo).deleted().revert(dry_run=True)
    assert kinds(plan) == ["missing_parent"]
    assert not plan.conflicts[0].is_forcible
    with pytest.raises(RevertConflict):
        Change.objects.for_model(Todo).deleted().revert(on_conflict="force")


def test_a_unique_value_and_a_key_that_are_taken_are_conflicts(drain: Drain) -> None:
    tag = Tag.objects.create(name="a")
    drain()
    key = tag.pk
    tag.delete()
    drain()
    deleted = Change.objects.for_model(Tag).deleted()
    Tag.objects.create(name="a")
    assert kinds(deleted.revert(dry_run=True)) == ["unique"]
    Tag.objects.all().delete()
    Tag.objects.create(pk=key, name="b")
    assert kinds(deleted.revert(dry_run=True)) == ["key_taken"]
    deleted.revert(on_conflict="force")
    assert Tag.objects.get().name == "a"


def test_a_row_that_others_refer_to_is_not_deleted(drain: Drain) -> None:
    category = Category.objects.create(name="c")
    drain()
    change = Change.objects.for_model(Category).created().get()
    Product.objects.create(sku="1", category=category)
    assert kinds(change.revert(dry_run=True)) == ["referenced"]


def test_the_transaction_around_it_decides(drain: Drain) -> None:
    Todo.objects.create(task="x")
    (change,) = drain()
    with transaction.atomic():
        change.revert()
        transaction.set_rollback(True)
    assert Todo.objects.exists()


def test_it_waits_for_who_writes_the_row_and_sees_what_was_written(drain: Drain, observer: Any) -> None:
    Todo.objects.create(task="Sleep")
    drain()
    Todo.objects.update(task="Dream")
    (change,) = drain()
    observer.execute("BEGIN; UPDATE todo SET task = 'Wake'")

    def commit_when_it_waits() -> None:
        with psycopg2.connect(**conf.connection_parameters("default")) as watching:
            until(lambda: _waiting(watching))
        watching.close()
        observer.execute("COMMIT")

    with ThreadPoolExecutor(1) as thread:
        committed = thread.submit(commit_when_it_waits)
        with pytest.raises(RevertConflict, match='task is "Wake"'):
            change.revert()
        committed.result()


def _waiting(watching: Any) -> bool:
    with watching.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return bool(cursor.fetchone()[0])


def test_a_dry_run_waits_for_nobody(drain: Drain, observer: Any) -> None:
    Todo.objects.create(task="Sleep")
    (change,) = drain()
    observer.execute("BEGIN; UPDATE todo SET task = 'Wake'")
    assert change.revert(dry_run=True).conflicts == ()
    observer.execute("ROLLBACK")


def test_in_the_past_nothing_is_reverted(drain: Drain) -> None:
    Todo.objects.create(task="Sleep")
    drain()
    Todo.objects.update(task="Dream")
    (change,) = drain()
    with settled, as_of(change), pytest.raises(PastIsReadOnly):
        change.revert()
    assert Todo.objects.get().task == "Dream"
    change.revert()
    assert Todo.objects.get().task == "Sleep"
