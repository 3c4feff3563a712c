"""Django's query log shows the statements of the application: they are what they are without the hook."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import CaptureQueriesContext

from bemi_django import bound_context
from bemi_django.capture.hooks import django_db
from tests.shop.models import Category, Product

HOSTILE = {"a": "*/ Bemi*/ %s %(x)s /*Bemi", "b": "' \\ $$ é \0", "c": {"*/": ["%"]}}


def save() -> None:
    category = Category(pk=7, name="a")
    category.save(force_insert=True)
    category.name = "100 % */ Bemi*/ b"
    category.save()
    category.delete()


def bulk() -> None:
    Category.objects.bulk_create([Category(pk=number, name=f"{number}") for number in range(3)])
    Product.objects.bulk_create([Product(pk=1, sku="x", category_id=1)])
    Product.objects.filter(category__name="1").update(stock=3)
    list(Category.objects.select_for_update().filter(name__contains="%"))


def raw() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_category (id, name) VALUES (1, 'a%')")
        cursor.execute("UPDATE shop_category SET name = %s WHERE name LIKE %s", ["/*Bemi {} Bemi*/", "a%%"])
        cursor.execute("/* mine */ UPDATE shop_category SET name = %(name)s", {"name": "x"})
        cursor.executemany("INSERT INTO shop_category (id, name) VALUES (%s, %s)", [[2, "b"], [3, "c"]])
        cursor.execute("SELECT 1; DELETE FROM shop_category")


def failing() -> None:
    Category.objects.create(pk=1, name="a")
    with pytest.raises(IntegrityError), transaction.atomic():
        Category.objects.create(pk=1, name="a")


WAYS: list[Callable[[], None]] = [save, bulk, raw, failing]


@contextmanager
def without_hook() -> Iterator[None]:
    connection.ensure_connection()
    connection.execute_wrappers.remove(django_db._annotate)
    try:
        yield
    finally:
        connection.execute_wrappers.insert(0, django_db._annotate)


@pytest.fixture(params=[False, True], ids=["bound by the client", "bound by the server"])
def binding(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[None]:
    """Let Django's connection bind values in either way."""
    if not request.param:
        yield
        return
    pytest.importorskip("psycopg", reason="psycopg2 binds in the client only")
    connection.close()
    connection.settings_dict["OPTIONS"]["server_side_binding"] = True
    vars(connection.features).pop("uses_server_side_binding", None)
    try:
        yield
    finally:
        connection.close()
        del connection.settings_dict["OPTIONS"]["server_side_binding"]
        vars(connection.features).pop("uses_server_side_binding", None)


def logged(work: Callable[[], None]) -> list[str]:
    """Return the statements that a piece of work logs, and undo it."""
    with CaptureQueriesContext(connection) as captured, transaction.atomic():
        work()
        transaction.set_rollback(True)
    # Django numbers its savepoints.
    return [re.sub(r'_x\d+"$', '"', query["sql"]) for query in captured]


@pytest.mark.parametrize("work", WAYS)
def test_the_log_of_queries_is_what_it_is_without_the_hook(binding: None, work: Callable[[], None]) -> None:
    with without_hook():
        expected = logged(work)
    with bound_context(**HOSTILE):
        assert logged(work) == expected


def test_the_logger_of_queries_shows_no_comment(
    transactional_db: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections["default"], "force_debug_cursor", True)
    with caplog.at_level(logging.DEBUG, "django.db.backends"), bound_context(**HOSTILE):
        save()
    assert any("INSERT INTO" in message for message in caplog.messages)
    assert not any("Bemi {" in message for message in caplog.messages)


def test_it_is_installed_once_on_each_connection(transactional_db: None) -> None:
    def installed(on: BaseDatabaseWrapper) -> Any:
        return on.ops.last_executed_query

    once = installed(connection)
    django_db.install_on(connection)
    assert installed(connection) is once
    other = connection.copy()
    try:
        other.ensure_connection()
        assert installed(other).hides_comments and installed(other) is not once
    finally:
        other.close()
