"""Reverts and timelines say what was removed from the log."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client

from bemi_django.models import Change
from bemi_django.revert import revert
from bemi_django.revert.absence import pruned_tables
from bemi_django.schema.database_names import database_name
from tests.shop.models import Category, Product
from tests.support.audit import LIST, visitor
from tests.support.pipeline import Drain
from tests.support.project_database import execute

NOTE = r"changes of public.shop_order up to \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC were removed from the log"


@pytest.fixture
def sold(drain: Drain) -> Iterator[list[Change]]:
    """The changes of a transaction; others of the same time were removed from the log."""
    with transaction.atomic():
        category = Category.objects.create(name="a")
        Product.objects.create(category=category, sku="p")
    made = drain()
    for days, table in ((0, "shop_order"), (-40, "shop_supplier")):
        note(table, made[0].committed_at + timedelta(days=days))
    yield made
    execute("DELETE FROM _bemi.completeness")


def note(table: str, moment: Any) -> None:
    execute(
        "INSERT INTO _bemi.completeness VALUES (%s, 'public', %s, "
        "date_trunc('month', %s AT TIME ZONE 'UTC'), false, 1, "
        "'00000000-0000-0000-0000-000000000000', %s, 1)",
        [database_name("default"), table, moment, moment],
    )


def test_a_revert_says_what_was_removed_of_the_same_time(sold: list[Change]) -> None:
    plan = revert(sold, dry_run=True)
    assert [(pruned.schema, pruned.table) for pruned in plan.pruned] == [("public", "shop_order")]
    assert str(plan).endswith("stays as it is")
    output = io.StringIO()
    number = str(sold[0].transaction_id)
    call_command("bemi", "revert", "--transaction", number, "--dry-run", stdout=output)
    assert re.search(NOTE, output.getvalue())
    # It is no conflict.
    assert revert(sold).is_applied and not Product.objects.exists()


def test_changes_of_which_nothing_was_removed_are_reverted_without_a_note(drain: Drain) -> None:
    Category.objects.create(name="a")
    plan = revert(drain(), dry_run=True)
    assert plan.pruned == () and "removed" not in str(plan)


def test_a_role_that_may_not_know_reverts_all_the_same(sold: list[Change]) -> None:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("REVOKE ALL ON _bemi.incomplete FROM CURRENT_USER")
            cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            (is_superuser,) = cursor.fetchone()
        assert len(pruned_tables(sold)) == is_superuser
        transaction.set_rollback(True)


@pytest.mark.parametrize("sees", [True, False])
def test_the_page_of_a_transaction_names_the_tables_that_the_user_may_see(
    sold: list[Change], sees: bool
) -> None:
    rights = [
        f"shop.{action}_{model}"
        for action in ("view", "add", "change", "delete")
        for model in ("category", "product", *(["order"] if sees else []))
    ]
    client = visitor("bemi_django.view_change", "bemi_django.revert_change", *rights)
    page = client.get(f"{LIST}revert/?transaction={sold[0].pk}").content.decode()
    assert ("Changes of public.shop_order up to" in page) is sees
    assert "shop_supplier" not in page
    # A single change lacks nothing.
    assert "removed from the log" not in client.get(f"{LIST}revert/?change={sold[0].pk}").content.decode()


def test_a_timeline_says_from_when_on_the_log_of_its_model_is_complete(
    sold: list[Change], admin_client: Client
) -> None:
    category = Category.objects.get()
    address = f"{LIST}timeline/shop/category/{category.pk}/"
    assert "is complete from" not in admin_client.get(address).content.decode()
    moment = sold[0].committed_at - timedelta(days=3)
    note("shop_category", moment)
    page = admin_client.get(address)
    assert page.context["complete_from"] == moment
    assert "The log of this model is complete from" in page.content.decode()


def test_a_version_of_which_later_changes_were_removed_is_not_restored(
    sold: list[Change], drain: Drain, admin_client: Client
) -> None:
    category = Category.objects.get()
    Category.objects.update(name="b")
    drain()
    first, last = Change.objects.filter(table="shop_category").order_by("pk")
    note("shop_category", last.committed_at)
    timeline = f"{LIST}timeline/shop/category/{category.pk}/"
    address = f"{LIST}revert/?since={first.pk}&next={timeline}"
    for send in (admin_client.get, admin_client.post):
        page = send(address, follow=True)
        assert page.redirect_chain == [(timeline, 302)]
        assert "The log is complete from" in page.content.decode()
    assert Category.objects.get().name == "b"
