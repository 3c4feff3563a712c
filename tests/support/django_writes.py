"""Ways to write the shop with Django."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from django.db import connection, transaction
from django.db.models import F

from bemi_django import apply_context
from sample_project.optional import aldjemy_usable
from tests.shop.models import Category, Order, Product
from tests.support.stocked_shop import CATEGORY, LINE, MERGE, ONE_OF_EACH, PRODUCT, REVIEW, Ways

_ways = Ways()
DJANGO = _ways.parameters


@_ways.changes((PRODUCT, "UPDATE", 1))
def save() -> None:
    product = Product.objects.get(sku="anvil")
    product.stock = 5
    product.save()


@_ways.changes((PRODUCT, "CREATE", 1))
def create() -> None:
    Product.objects.create(sku="new", category=Category.objects.get(name="tools"))


@_ways.changes((CATEGORY, "CREATE", 1))
def get_or_create() -> None:
    Category.objects.get_or_create(name="tools")
    Category.objects.get_or_create(name="new")


@_ways.changes((CATEGORY, "UPDATE", 1), (CATEGORY, "CREATE", 1))
def update_or_create() -> None:
    Category.objects.update_or_create(name="tools", defaults={"name": "Tools"})
    Category.objects.update_or_create(name="new")


@_ways.changes((PRODUCT, "UPDATE", 2))
def update() -> None:
    Product.objects.filter(category__name="tools").update(price=9)


@_ways.changes((CATEGORY, "CREATE", 5))
def bulk_create() -> None:
    Category.objects.bulk_create([Category(name=f"new {number}") for number in range(5)], batch_size=2)


@_ways.changes((PRODUCT, "UPDATE", 2), (PRODUCT, "CREATE", 1))
def bulk_create_update_conflicts() -> None:
    tools = Category.objects.get(name="tools")
    Product.objects.bulk_create(
        [Product(sku=sku, category=tools, stock=8) for sku in ("anvil", "new", "hammer")],
        update_conflicts=True,
        unique_fields=["sku"],
        update_fields=["stock"],
    )


@_ways.changes((CATEGORY, "CREATE", 1))
def bulk_create_ignore_conflicts() -> None:
    Category.objects.bulk_create([Category(name="tools"), Category(name="new")], ignore_conflicts=True)


@_ways.changes((PRODUCT, "UPDATE", 2))
def bulk_update() -> None:
    products = list(Product.objects.filter(category__name="tools"))
    for number, product in enumerate(products):
        product.stock = number
    Product.objects.bulk_update(products, ["stock"])


@_ways.changes((PRODUCT, "UPDATE", 1))
def f_expression() -> None:
    product = Product.objects.get(sku="anvil")
    product.stock = F("stock") + 1
    product.save(update_fields=["stock"])


@_ways.changes((CATEGORY, "DELETE", 1), (PRODUCT, "DELETE", 2), (LINE, "DELETE", 2))
def delete_with_django_cascade() -> None:
    Category.objects.get(name="toys").delete()


@_ways.changes((PRODUCT, "DELETE", 1), (REVIEW, "DELETE", 3))
def delete_with_database_cascade() -> None:
    Product.objects.get(sku="hammer").delete()


@_ways.changes((PRODUCT, "UPDATE", 1))
def raw() -> None:
    list(Product.objects.raw("UPDATE shop_product SET stock = %s WHERE sku = 'anvil' RETURNING *", [5]))


@_ways.changes((PRODUCT, "UPDATE", 1), (REVIEW, "DELETE", 3))
def cursor_execute() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_product SET stock = 5 WHERE sku = %s", ["anvil"])
        cursor.execute("DELETE FROM shop_review")


@_ways.changes((REVIEW, "DELETE", 3), (CATEGORY, "CREATE", 3))
def cursor_execute_with() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH gone AS (DELETE FROM shop_review RETURNING text) "
            "INSERT INTO shop_category (name) SELECT text FROM gone"
        )


@_ways.changes((CATEGORY, "CREATE", 3))
def cursor_executemany() -> None:
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO shop_category (name) VALUES (%s)", [["a"], ["b"], ["c"]])


@_ways.changes((CATEGORY, "CREATE", 3))
def copy() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        apply_context()
        statement, data = "COPY shop_category (name) FROM STDIN", "a\nb\nc\n"
        if hasattr(cursor, "copy_expert"):  # psycopg2
            cursor.copy_expert(statement, io.StringIO(data))
        else:
            with cursor.copy(statement) as target:
                target.write(data)


@_ways.changes((LINE, "CREATE", 2))
def many_to_many_add() -> None:
    Order.objects.get(number="1").products.add(*Product.objects.filter(category__name="tools"))


@_ways.changes((LINE, "DELETE", 1))
def many_to_many_remove() -> None:
    Order.objects.get(number="1").products.remove(Product.objects.get(sku="doll"))


@_ways.changes((LINE, "DELETE", 2))
def many_to_many_clear() -> None:
    Order.objects.get(number="1").products.clear()


@_ways.changes((LINE, "CREATE", 1), (LINE, "DELETE", 1))
def many_to_many_set() -> None:
    Order.objects.get(number="1").products.set(Product.objects.filter(sku__in=["doll", "anvil"]))


@_ways.changes((REVIEW, "TRUNCATE", 1), (LINE, "TRUNCATE", 1))
def truncate() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE shop_review, shop_order_products")


@_ways.changes(*ONE_OF_EACH, marks=pytest.mark.postgres(15))
def merge() -> None:
    with connection.cursor() as cursor:
        cursor.execute(MERGE)


@_ways.changes(
    *ONE_OF_EACH,
    marks=pytest.mark.skipif(not aldjemy_usable(), reason="aldjemy with SQLAlchemy 1.4 is not installed"),
)
def aldjemy_session_flush() -> None:
    from aldjemy.session import get_session

    from tests.support.sqlalchemy_writes import session_flush

    session, shop = get_session(), SimpleNamespace(Category=Category.sa)  # type: ignore[attr-defined]
    session_flush(session, shop)
    session.close()
