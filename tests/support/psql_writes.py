"""Ways to write the shop with psql: a statement, and lines for its standard input."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.stocked_shop import CATEGORY, MERGE, ONE_OF_EACH, PRODUCT, REVIEW, Expected

PSQL: list[Any] = []


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
    *ONE_OF_EACH,
    marks=pytest.mark.postgres(15),
)
