"""The patterns of tables and columns in settings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bemi_django.wire.name_pattern import column_pattern, literal, matches, table_pattern


@pytest.mark.parametrize(
    ("pattern", "column"),
    [
        ("*.last_login", "public.auth_user.last_login"),
        ("shop_visit.*", "public.shop_visit.page"),
        ("shop_visit.*", "tenant.shop_visit.page"),
        ("public.shop_visit.page", "public.shop_visit.page"),
        ("*.*", "public.shop_visit.page"),
        ("pub*.shop_?isit.p*e", "public.shop_visit.page"),
        ("*", None),
        ("a.b.c.d", None),
        (".b", None),
        ("", None),
        (7, None),
        ("public.shop.page", "other.shop.page!"),
        ("shop.page", "public.shop_visit.page!"),
        ("shop.Page", "public.shop.page!"),
        ("shop.[a-z]*", "public.shop.page!"),
    ],
)
def test_a_pattern_of_columns(pattern: object, column: str | None) -> None:
    if column is None:
        with pytest.raises(ValueError, match="table.column or schema.table.column"):
            column_pattern(pattern)
        return
    schema, table, name = column.rstrip("!").split(".")
    assert column_pattern(pattern).matches(schema, table, name) == (not column.endswith("!"))


def test_a_pattern_of_tables() -> None:
    assert table_pattern("shop").matches("any", "shop") and table_pattern("a.shop").matches("a", "shop")
    assert not table_pattern("a.shop").matches("b", "shop")
    with pytest.raises(ValueError, match="table or schema.table"):
        table_pattern("a.b.c")


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_literal_matches_its_own_name(name: str, other: str) -> None:
    assert matches(literal(name), name)
    if "*" not in name and "?" not in name:
        assert matches(literal(name), other) == (name == other)


def test_many_wildcards_take_no_exponential_time() -> None:
    assert not matches("*a" * 30 + "b", "a" * 63)
