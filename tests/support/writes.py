"""The ways to write a row, each with the changes it makes to the shop of :func:`stock_the_shop`.

A table that a way does not name is not changed by it; no row is changed twice.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F

from bemi_django import apply_context
from sample_project.optional import aldjemy_usable
from tests.shop.models import Category, Order, Product, Review

CATEGORY, PRODUCT, REVIEW, LINE = (
    model._meta.db_table for model in (Category, Product, Review, Order.products.through)
)
TABLES = (CATEGORY, PRODUCT, REVIEW, LINE)

#: Table, operation, number of rows.
Expected = tuple[str, str, int]

DJANGO: list[Any] = []
SQLALCHEMY: list[Any] = []
PSQL: list[Any] = []

_ONE_OF_EACH = ((CATEGORY, "CREATE", 1), (CATEGORY, "UPDATE", 1), (CATEGORY, "DELETE", 1))


def stock_the_shop() -> None:
    tools, toys, _ = (Category.objects.create(name=name) for name in ("tools", "toys", "books"))
    _, hammer = (Product.objects.create(sku=sku, category=tools) for sku in ("anvil", "hammer"))
    toys_sold = [Product.objects.create(sku=sku, category=toys) for sku in ("doll", "kite")]
    Order.objects.create(number="1").products.add(*toys_sold)
    Review.objects.bulk_create([Review(product=hammer, text=text) for text in ("good", "bad", "ugly")])


def _changes(ways: list[Any], *expected: Expected, marks: Any = ()) -> Callable[..., Any]:
    def register(write: Callable[..., None]) -> Callable[..., None]:
        ways.append(pytest.param(write, expected, id=write.__name__, marks=marks))
        return write

    return register


# Django


@_changes(DJANGO, (PRODUCT, "UPDATE", 1))
def save() -> None:
    product = Product.objects.get(sku="anvil")
    product.stock = 5
    product.save()


@_changes(DJANGO, (PRODUCT, "CREATE", 1))
def create() -> None:
    Product.objects.create(sku="new", category=Category.objects.get(name="tools"))


@_changes(DJANGO, (CATEGORY, "CREATE", 1))
def get_or_create() -> None:
    Category.objects.get_or_create(name="tools")
    Category.objects.get_or_create(name="new")


@_changes(DJANGO, (CATEGORY, "UPDATE", 1), (CATEGORY, "CREATE", 1))
def update_or_create() -> None:
    Category.objects.update_or_create(name="tools", defaults={"name": "Tools"})
    Category.objects.update_or_create(name="new")


@_changes(DJANGO, (PRODUCT, "UPDATE", 2))
def update() -> None:
    Product.objects.filter(category__name="tools").update(price=9)


@_changes(DJANGO, (CATEGORY, "CREATE", 5))
def bulk_create() -> None:
    Category.objects.bulk_create([Category(name=f"new {number}") for number in range(5)], batch_size=2)


@_changes(DJANGO, (PRODUCT, "UPDATE", 2), (PRODUCT, "CREATE", 1))
def bulk_create_update_conflicts() -> None:
    tools = Category.objects.get(name="tools")
    Product.objects.bulk_create(
        [Product(sku=sku, category=tools, stock=8) for sku in ("anvil", "new", "hammer")],
        update_conflicts=True,
        unique_fields=["sku"],
        update_fields=["stock"],
    )


@_changes(DJANGO, (CATEGORY, "CREATE", 1))
def bulk_create_ignore_conflicts() -> None:
    Category.objects.bulk_create([Category(name="tools"), Category(name="new")], ignore_conflicts=True)


@_changes(DJANGO, (PRODUCT, "UPDATE", 2))
def bulk_update() -> None:
    products = list(Product.objects.filter(category__name="tools"))
    for number, product in enumerate(products):
        product.stock = number
    Product.objects.bulk_update(products, ["stock"])


@_changes(DJANGO, (PRODUCT, "UPDATE", 1))
def f_expression() -> None:
    product = Product.objects.get(sku="anvil")
    product.stock = F("stock") + 1
    product.save(update_fields=["stock"])


@_changes(DJANGO, (CATEGORY, "DELETE", 1), (PRODUCT, "DELETE", 2), (LINE, "DELETE", 2))
def delete_with_django_cascade() -> None:
    Category.objects.get(name="toys").delete()


@_changes(DJANGO, (PRODUCT, "DELETE", 1), (REVIEW, "DELETE", 3))
def delete_with_database_cascade() -> None:
    Product.objects.get(sku="hammer").delete()


@_changes(DJANGO, (PRODUCT, "UPDATE", 1))
def raw() -> None:
    list(Product.objects.raw("UPDATE shop_product SET stock = %s WHERE sku = 'anvil' RETURNING *", [5]))


@_changes(DJANGO, (PRODUCT, "UPDATE", 1), (REVIEW, "DELETE", 3))
def cursor_execute() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_product SET stock = 5 WHERE sku = %s", ["anvil"])
        cursor.execute("DELETE FROM shop_review")


@_changes(DJANGO, (REVIEW, "DELETE", 3), (CATEGORY, "CREATE", 3))
def cursor_execute_with() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH gone AS (DELETE FROM shop_review RETURNING text) "
            "INSERT INTO shop_category (name) SELECT text FROM gone"
        )


@_changes(DJANGO, (CATEGORY, "CREATE", 3))
def cursor_executemany() -> None:
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO shop_category (name) VALUES (%s)", [["a"], ["b"], ["c"]])


@_changes(DJANGO, (CATEGORY, "CREATE", 3))
def copy() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        apply_context()
        statement, data = "COPY shop_category (name) FROM STDIN", "a\nb\nc\n"
        if hasattr(cursor, "copy_expert"):  # psycopg2
            cursor.copy_expert(statement, io.StringIO(data))
        else:
            with cursor.copy(statement) as target:
                target.write(data)


@_changes(DJANGO, (LINE, "CREATE", 2))
def many_to_many_add() -> None:
    Order.objects.get(number="1").products.add(*Product.objects.filter(category__name="tools"))


@_changes(DJANGO, (LINE, "DELETE", 1))
def many_to_many_remove() -> None:
    Order.objects.get(number="1").products.remove(Product.objects.get(sku="doll"))


@_changes(DJANGO, (LINE, "DELETE", 2))
def many_to_many_clear() -> None:
    Order.objects.get(number="1").products.clear()


@_changes(DJANGO, (LINE, "CREATE", 1), (LINE, "DELETE", 1))
def many_to_many_set() -> None:
    Order.objects.get(number="1").products.set(Product.objects.filter(sku__in=["doll", "anvil"]))


@_changes(DJANGO, (REVIEW, "TRUNCATE", 1), (LINE, "TRUNCATE", 1))
def truncate() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE shop_review, shop_order_products")


MERGE = """
    MERGE INTO shop_category USING (VALUES ('books'), ('tools'), ('new')) AS given (name)
    ON shop_category.name = given.name
    WHEN MATCHED AND given.name = 'books' THEN DELETE
    WHEN MATCHED THEN UPDATE SET name = upper(given.name)
    WHEN NOT MATCHED THEN INSERT (name) VALUES (given.name)
"""


@_changes(DJANGO, *_ONE_OF_EACH, marks=pytest.mark.postgres(15))
def merge() -> None:
    with connection.cursor() as cursor:
        cursor.execute(MERGE)


@_changes(
    DJANGO,
    *_ONE_OF_EACH,
    marks=pytest.mark.skipif(not aldjemy_usable(), reason="aldjemy with SQLAlchemy 1.4 is not installed"),
)
def aldjemy_session_flush() -> None:
    from aldjemy.session import get_session

    session, shop = get_session(), SimpleNamespace(Category=Category.sa)  # type: ignore[attr-defined]
    session_flush(session, shop)
    session.close()


# SQLAlchemy: a session of the engine, and the module tests.shop.mapped


@_changes(SQLALCHEMY, (CATEGORY, "CREATE", 1))
def core_insert(session: Any, shop: Any) -> None:
    session.connection().execute(shop.category.insert().values(name="new"))


@_changes(SQLALCHEMY, (CATEGORY, "CREATE", 3))
def core_insert_many(session: Any, shop: Any) -> None:
    session.connection().execute(shop.category.insert(), [{"name": name} for name in "abc"])


@_changes(SQLALCHEMY, (CATEGORY, "UPDATE", 2))
def core_update(session: Any, shop: Any) -> None:
    chosen = shop.category.c.name.in_(["tools", "toys"])
    session.connection().execute(shop.category.update().where(chosen).values(name=shop.category.c.name + "!"))


@_changes(SQLALCHEMY, (CATEGORY, "DELETE", 1))
def core_delete(session: Any, shop: Any) -> None:
    session.connection().execute(shop.category.delete().where(shop.category.c.name == "books"))


@_changes(SQLALCHEMY, (PRODUCT, "UPDATE", 1))
def core_text(session: Any, shop: Any) -> None:
    from sqlalchemy import text

    session.connection().execute(
        text("UPDATE shop_product SET stock = :stock WHERE sku = 'anvil'"), {"stock": 5}
    )


@_changes(SQLALCHEMY, *_ONE_OF_EACH)
def session_flush(session: Any, shop: Any) -> None:
    session.add(shop.Category(name="new"))
    session.query(shop.Category).filter(shop.Category.name == "tools").one().name = "Tools"
    session.delete(session.query(shop.Category).filter(shop.Category.name == "books").one())
    session.flush()


@_changes(SQLALCHEMY, (CATEGORY, "CREATE", 5))
def session_flush_many(session: Any, shop: Any) -> None:
    session.add_all([shop.Category(name=f"new {number}") for number in range(5)])
    session.flush()


# psql: a statement, and lines for its standard input


def _script(name: str, statement: str, *expected: Expected, data: str = "", marks: Any = ()) -> None:
    PSQL.append(pytest.param(statement, data, expected, id=name, marks=marks))


_script("insert", "INSERT INTO shop_category (name) VALUES ('a'), ('b');", (CATEGORY, "CREATE", 2))
_script("update", "UPDATE shop_product SET stock = 5 WHERE sku = 'anvil';", (PRODUCT, "UPDATE", 1))
_script(
    "delete_with_database_cascade",
    "DELETE FROM shop_product WHERE sku = 'hammer';",
    (PRODUCT, "DELETE", 1),
    (REVIEW, "DELETE", 3),
)
_script(
    "copy",
    "COPY shop_category (name) FROM STDIN;",
    (CATEGORY, "CREATE", 3),
    data="a\nb\nc\n\\.\n",
)
_script("truncate", "TRUNCATE shop_review;", (REVIEW, "TRUNCATE", 1))
_script(
    "merge",
    MERGE.strip() + ";",
    *_ONE_OF_EACH,
    marks=pytest.mark.postgres(15),
)
