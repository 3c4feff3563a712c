"""A shop with a few rows, and a register of ways to write it with the changes that each makes.

A way does not change the tables that it does not name, and no row twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.shop.models import Category, Order, Product, Review

CATEGORY, PRODUCT, REVIEW, LINE = (
    model._meta.db_table for model in (Category, Product, Review, Order.products.through)
)
TABLES = (CATEGORY, PRODUCT, REVIEW, LINE)

#: Table, operation, number of rows.
Expected = tuple[str, str, int]

ONE_OF_EACH = ((CATEGORY, "CREATE", 1), (CATEGORY, "UPDATE", 1), (CATEGORY, "DELETE", 1))
MERGE = """
    MERGE INTO shop_category USING (VALUES ('books'), ('tools'), ('new')) AS given (name)
    ON shop_category.name = given.name
    WHEN MATCHED AND given.name = 'books' THEN DELETE
    WHEN MATCHED THEN UPDATE SET name = upper(given.name)
    WHEN NOT MATCHED THEN INSERT (name) VALUES (given.name)
"""


def stock_the_shop() -> None:
    tools, toys, _ = (Category.objects.create(name=name) for name in ("tools", "toys", "books"))
    _, hammer = (Product.objects.create(sku=sku, category=tools) for sku in ("anvil", "hammer"))
    toys_sold = [Product.objects.create(sku=sku, category=toys) for sku in ("doll", "kite")]
    Order.objects.create(number="1").products.add(*toys_sold)
    Review.objects.bulk_create([Review(product=hammer, text=text) for text in ("good", "bad", "ugly")])


class Ways:
    """Ways to write, as parameters of a test: the function and the changes that it makes."""

    def __init__(self) -> None:
        self.parameters: list[Any] = []

    def changes(self, *expected: Expected, marks: Any = ()) -> Callable[..., Any]:
        """Register a function that makes these changes."""

        def register(write: Callable[..., None]) -> Callable[..., None]:
            self.parameters.append(pytest.param(write, expected, id=write.__name__, marks=marks))
            return write

        return register
