"""Some fields put back, columns that are always set to the present, and records that stay."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.test import Client

from bemi_django import bound_context
from bemi_django.exceptions import BemiError, PlanChanged, RevertConflict
from bemi_django.models import Change
from bemi_django.revert import revert
from sample_project.todos.models import Todo
from tests.shop.models import Category, Order, Product
from tests.support.pipeline import Drain


@pytest.fixture
def stamped(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Orders know when they were saved last."""
    field = Order._meta.get_field("placed_at")
    monkeypatch.setattr(field, "auto_now", True)
    return field


@pytest.mark.parametrize("use_tz", [True, False], ids=["USE_TZ", "naive"])
def test_the_time_of_the_last_save_is_no_conflict_and_becomes_the_present(
    stamped: Any, drain: Drain, settings: Any, use_tz: bool
) -> None:
    settings.USE_TZ = use_tz
    order = Order.objects.create(number="1")
    drain()
    order.number = "2"
    order.save()
    (renumbered,) = drain()
    # Only the time differs afterwards, twice: before the worker has seen it, and in between.
    order.save()
    drain()
    order.save()
    saved = Order.objects.get().placed_at
    plan = renumbered.revert(dry_run=True)
    assert not plan.conflicts
    assert [(dict(step.values), step.renewed) for step in plan.steps] == [({"number": "1"}, ("placed_at",))]
    assert renumbered.revert(dry_run=True).digest == plan.digest, "the plan does not depend on the clock"
    revert([renumbered], digest=plan.digest)
    now = Order.objects.get()
    assert now.number == "1" and now.placed_at > saved


def test_a_save_that_changed_nothing_else_is_nothing_to_revert(stamped: Any, drain: Drain) -> None:
    order = Order.objects.create(number="1")
    order.save()
    saved = Order.objects.get().placed_at
    *_, change = drain()
    assert [step.action for step in change.revert().steps] == ["nothing"]
    assert Order.objects.get().placed_at == saved


def test_a_row_that_was_only_saved_again_is_no_conflict_for_undoing_its_creation(
    stamped: Any, drain: Drain
) -> None:
    order = Order.objects.create(number="1")
    (created,) = drain()
    order.save()
    created.revert()
    assert not Order.objects.exists()


def test_a_restored_row_was_saved_now(stamped: Any, drain: Drain) -> None:
    Order.objects.create(number="1")
    before = Order.objects.get().placed_at
    Order.objects.all().delete()
    *_, deleted = drain()
    deleted.revert()
    assert Order.objects.get().placed_at > before
    assert deleted.revert().conflicts == ()


def test_a_forced_row_is_saved_now_too(stamped: Any, drain: Drain) -> None:
    order = Order.objects.create(number="1")
    order.number = "2"
    order.save()
    *_, change = drain()
    before = Order.objects.get().placed_at
    order.delete()
    assert [conflict.kind for conflict in change.revert(dry_run=True).conflicts] == ["missing_row"]
    change.revert(on_conflict="force")
    assert Order.objects.get().number == "1" and Order.objects.get().placed_at > before


@pytest.fixture
def product(drain: Drain) -> Change:
    """A change of three fields of a product."""
    category, other = Category.objects.create(name="a"), Category.objects.create(name="b")
    product = Product.objects.create(sku="lamp", category=category, price="119.00", stock=3)
    drain()
    product.price, product.stock, product.category = "129.00", 5, other
    product.save()
    (change,) = drain()
    return change


def test_one_field_is_put_back_for_a_reason(product: Change, drain: Drain) -> None:
    plan = product.revert(fields=["price"], reason="agreed by telephone")
    assert plan.is_applied and [dict(step.values) for step in plan.steps] == [{"price": 119}]
    now = Product.objects.get()
    assert (str(now.price), now.stock, now.category.name) == ("119.00", 5, "b")
    (change,) = drain()
    assert change.context["reason"] == "agreed by telephone"
    assert change.context["reverts"] == [str(product.pk)]


@pytest.mark.parametrize("name", ["category", "category_id"])
def test_a_foreign_key_is_put_back_by_the_name_of_its_field_or_column(product: Change, name: str) -> None:
    Change.objects.filter(pk=product.pk).revert(fields=[name])
    now = Product.objects.get()
    assert (str(now.price), now.category.name) == ("129.00", "a")


def test_a_conflict_in_another_field_does_not_matter(product: Change) -> None:
    Product.objects.update(stock=7)
    with pytest.raises(RevertConflict):
        product.revert()
    with pytest.raises(RevertConflict):
        product.revert(fields=["price", "stock"])
    product.revert(fields=["price"])
    assert (str(Product.objects.get().price), Product.objects.get().stock) == ("119.00", 7)
    product.revert(fields=["stock"], on_conflict="force")
    assert Product.objects.get().stock == 3


def test_a_confirmed_plan_covers_all_fields(product: Change) -> None:
    confirmed = product.revert(dry_run=True).digest
    Product.objects.update(stock=7)
    with pytest.raises(PlanChanged):
        revert([product], fields=["price"], digest=confirmed)
    confirmed = product.revert(dry_run=True).digest
    assert revert([product], fields=["price"], digest=confirmed).is_applied


def test_a_field_of_a_deleted_row_cannot_be_put_back(product: Change) -> None:
    Product.objects.all().delete()
    (conflict,) = product.revert(dry_run=True, fields=["price"]).conflicts
    assert (conflict.kind, conflict.is_forcible) == ("missing_row", False)


def test_wrong_fields_are_said(product: Change, drain: Drain) -> None:
    with pytest.raises(BemiError, match="no table of these changes has the fields prise: check their names"):
        product.revert(fields=["prise"])
    created = Change.objects.for_model(Product).created().get()
    with pytest.raises(BemiError, match="none of these changes is an UPDATE"):
        created.revert(fields=["price"])


def test_what_was_done_stays_in_the_admin_s_own_log(drain: Drain, client: Client, admin_user: User) -> None:
    client.force_login(admin_user)
    kind = ContentType.objects.get_for_model(Todo)
    drain()
    with bound_context(request_id="r1"), transaction.atomic():
        todo = Todo.objects.create(task="Sleep")
        LogEntry.objects.create(
            user=admin_user, content_type=kind, object_id=str(todo.pk), object_repr="Sleep", action_flag=1
        )
        ContentType.objects.create(app_label="gone", model="gone")
    drain()
    plan = Change.objects.in_request("r1").revert()
    assert [(step.table, step.action) for step in plan.steps] == [("todo", "delete")]
    assert not Todo.objects.exists()
    assert LogEntry.objects.count() == 1 and ContentType.objects.filter(app_label="gone").exists()
    # What was deleted there comes back: nothing is lost by it.
    LogEntry.objects.all().delete()
    *_, deleted = drain()
    deleted.revert()
    assert LogEntry.objects.count() == 1


def test_which_records_stay_is_a_setting(drain: Drain, settings: Any) -> None:
    settings.BEMI_BOOKKEEPING_TABLES = ["public.todo"]
    Todo.objects.create(task="Sleep")
    kind = ContentType.objects.create(app_label="gone", model="gone")
    changes = drain()
    Change.objects.filter(pk__in=[change.pk for change in changes]).revert()
    assert Todo.objects.exists()
    assert not ContentType.objects.filter(pk=kind.pk).exists()
