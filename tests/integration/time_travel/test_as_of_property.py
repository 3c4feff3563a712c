# ruff: noqa: S608 - the SQL of tests
"""Whatever transactions do to related tables: ``as_of`` for each commit is what was there after it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import Count, Sum
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bemi_django.schema import tracking
from bemi_django.time_travel import as_of
from sample_project.optional import aldjemy_usable
from tests.shop.models import Category, Order, Product, Review
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute

# Text keys, keys of two columns, and rows that exchange their keys.
TABLES = """
CREATE TABLE place (code varchar(9) PRIMARY KEY, note text);
CREATE TABLE seat (x int, y int, note text, PRIMARY KEY (x, y) DEFERRABLE);
"""
JOIN = """
SELECT c.name, p.sku, p.price, o.number, r.text
FROM shop_category c
LEFT JOIN shop_product p ON p.category_id = c.id
LEFT JOIN shop_order_products op ON op.product_id = p.id LEFT JOIN shop_order o ON o.id = op.order_id
LEFT JOIN shop_review r ON r.product_id = p.id
ORDER BY 1, 2, 4, 5, r.id
"""

small = st.integers(1, 4)
step = st.one_of(
    st.tuples(st.just("category"), small, st.sampled_from("xyz")),
    st.tuples(st.just("product"), small, small, st.decimals(0, 99, places=2)),
    st.tuples(st.just("order"), small, st.lists(small, max_size=3)),
    st.tuples(st.just("review"), small, st.sampled_from(["", "gut", 'a"\\b'])),
    st.tuples(st.just("place"), small, st.sampled_from(["", None, "é"])),
    st.tuples(st.just("seat"), small, small),
    st.tuples(st.just("move"), st.sampled_from(["category", "place", "seats"]), small),
    st.tuples(st.just("reprice"), st.integers(-2, 2)),
    st.tuples(
        st.just("delete"), st.sampled_from(["category", "product", "order", "review", "place", "seat"]), small
    ),
)
transactions = st.lists(st.lists(step, min_size=1, max_size=5), min_size=1, max_size=6)


def take(name: str, *args: Any) -> None:
    if name == "category":
        Category.objects.update_or_create(id=args[0], defaults={"name": f"{args[1]}{args[0]}"})
    elif name == "product" and Category.objects.filter(id=args[1]).exists():
        Product.objects.update_or_create(
            id=args[0], defaults={"sku": f"p{args[0]}", "category_id": args[1], "price": args[2]}
        )
    elif name == "order":
        order, _ = Order.objects.get_or_create(id=args[0], defaults={"number": f"o{args[0]}"})
        order.products.set(Product.objects.filter(id__in=args[1]))
    elif name == "review" and Product.objects.filter(id=args[0]).exists():
        Review.objects.create(product_id=args[0], text=args[1])
    elif name == "place":
        execute(
            "INSERT INTO place VALUES (%s, %s) ON CONFLICT (code) DO UPDATE SET note = excluded.note",
            [f"c{args[0]}", args[1]],
        )
    elif name == "seat":
        if not execute("SELECT 1 FROM seat WHERE (x, y) = (%s, %s)", args):
            execute("INSERT INTO seat VALUES (%s, %s, 'new')", args)
    elif name == "reprice":
        Product.objects.update(stock=args[0])
    elif name == "move":
        move(*args)
    elif name == "delete":
        delete(*args)


def move(what: str, number: int) -> None:
    """Change keys: a parent's with its children's, a text's, and those of all seats at once."""
    if what == "category":
        if not Category.objects.filter(id=number + 10).exists():
            Category.objects.filter(id=number).update(id=number + 10)
            Product.objects.filter(category_id=number).update(category_id=number + 10)
    elif what == "place":
        execute(
            "UPDATE place SET code = %s WHERE code = %s AND NOT EXISTS (SELECT FROM place WHERE code = %s)",
            [f"c{number + 1}", f"c{number}", f"c{number + 1}"],
        )
    else:
        execute("UPDATE seat SET x = y, y = x, note = note || x")


def delete(what: str, number: int) -> None:
    models: dict[str, Any] = {"category": Category, "product": Product, "order": Order}
    if what in models:
        models[what].objects.filter(id=number).delete()
    elif what == "review":
        execute("DELETE FROM shop_review WHERE product_id = %s", [number])
    else:
        execute(f"DELETE FROM {what} WHERE {what}::text LIKE %s", [f"%{number},%"])


@contextmanager
def sqlalchemy_session() -> Iterator[Any]:
    """One on Django's connection, by aldjemy or by the bridge."""
    if aldjemy_usable():
        yield importlib.import_module("aldjemy.session").get_session()
        return
    with importlib.import_module("bemi_django.integrations.sqlalchemy").get_session() as session:
        yield session


def seen_by_sqlalchemy() -> list[Any]:
    sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")
    mapped: Any = importlib.import_module("tests.shop.mapped")
    with sqlalchemy_session() as session:
        query = sqlalchemy.select(mapped.category.c.id, mapped.category.c.name).order_by(mapped.category.c.id)
        return [
            [tuple(row) for row in session.execute(query)],
            [tuple(row) for row in session.execute(sqlalchemy.text(JOIN))],
        ]


def seen() -> dict[str, Any]:
    """What queries of every kind say."""
    return {
        "categories": list(Category.objects.order_by("id").values()),
        "products": [
            (p.id, p.sku, p.price, p.stock, p.category.name)
            for p in Product.objects.select_related("category").order_by("id")
        ],
        "orders": [
            (order.number, order.placed_at, sorted(p.sku for p in order.products.all()))
            for order in Order.objects.prefetch_related("products").order_by("id")
        ],
        "sums": list(
            Category.objects.annotate(total=Sum("products__price"), orders=Count("products__orders"))
            .order_by("id")
            .values_list("name", "total", "orders")
        ),
        "by key": [Category.objects.filter(pk=number).first() and number for number in (1, 2, 11, 12)],
        "places": execute("SELECT code, note FROM place ORDER BY code"),
        "seats": execute("SELECT x, y, note FROM seat ORDER BY x, y"),
        "place by key": execute("SELECT note FROM place WHERE code = 'c2'"),
        "seat by key": execute("SELECT note FROM seat WHERE x = 2 AND y = 1"),
        "join": execute(JOIN),
        "sqlalchemy": seen_by_sqlalchemy(),
    }


@pytest.fixture
def log(transactional_db: None) -> Iterator[Pipeline]:
    execute(TABLES)
    tracking.sync()
    pipeline = Pipeline.of_project("bemi_travel")
    pipeline.advance()
    yield pipeline
    pipeline.drop()
    execute("DROP TABLE place, seat")


def run(steps: list[Any]) -> tuple[Any, Any, Any, dict[str, Any]]:
    """One transaction, which may fail; return three names of the moment after it, and what is seen then."""
    xid = 0
    with suppress(IntegrityError), transaction.atomic():
        execute("SET CONSTRAINTS ALL DEFERRED")
        for one in steps:
            take(*one)
        ((xid,),) = execute("SELECT pg_current_xact_id()::text::bigint")
    ((lsn, moment),) = execute("SELECT pg_current_wal_insert_lsn()::text, clock_timestamp()")
    return xid, lsn, moment, seen()


def empty() -> None:
    for table in (
        "shop_review",
        "shop_order_products",
        "shop_order",
        "shop_product",
        "shop_category",
        "place",
        "seat",
    ):
        execute(f"DELETE FROM {table}")


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(transactions=transactions)
def test_as_of_each_commit_is_what_was_there(log: Pipeline, transactions: list[list[Any]]) -> None:
    empty()
    states = [run(steps) for steps in transactions]
    log.advance()
    with override_settings(BEMI_AS_OF_PATIENCE=0):
        for number, (xid, lsn, moment, state) in enumerate(states):
            name = [lsn, moment, xid if wrote(xid) else lsn][number % 3]
            with as_of(name):
                assert seen() == state


def wrote(xid: int) -> bool:
    return bool(execute("SELECT 1 FROM changes WHERE transaction_id = %s LIMIT 1", [xid]))
