"""Columns whose values have no keys in them, as models declare them."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy
from django.contrib.postgres.fields import ArrayField, DateRangeField, HStoreField
from django.db import models
from sqlalchemy.dialects import postgresql

from bemi_django.events import recording
from bemi_django.integrations import sqlalchemy_events
from bemi_django.masking.flat_types import TEXT, UNKNOWN_TYPE, type_named
from bemi_django.masking.rules import Rules
from bemi_django.masking.settings import rules_of
from tests.shop.models import Product

RULES: Rules = rules_of({"*.*->**->password": "hash"}, "k" * 32)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("varchar(20)", TEXT),
        ("uuid", TEXT),
        ("NUMERIC(10, 2)", TEXT),
        ("DOUBLE PRECISION", TEXT),
        ("timestamp with time zone", TEXT),
        ("TIMESTAMP(6) WITHOUT TIME ZONE", TEXT),
        ("citext", TEXT),
        ("jsonb", UNKNOWN_TYPE),
        ("mood", UNKNOWN_TYPE),
        ("integer[]", TEXT),
        ("VARCHAR(9)[][]", TEXT),
        ("timestamp with time zone[3]", TEXT),
        ("jsonb[]", UNKNOWN_TYPE),
        ("mood[]", UNKNOWN_TYPE),
        ("tstzrange", TEXT),
        ("INT4MULTIRANGE", TEXT),
        (None, UNKNOWN_TYPE),
    ],
)
def test_a_type_is_known_by_its_name(printed: str | None, expected: int) -> None:
    assert type_named(printed) == expected


class _Code(models.CharField):  # type: ignore[type-arg]
    """A field of a project, which is stored as text."""


@pytest.mark.parametrize(
    ("field", "is_masked"),
    [
        (models.UUIDField(), False),
        (models.BigAutoField(primary_key=True), False),
        (_Code(max_length=9), False),
        (models.ForeignKey(Product, models.CASCADE), False),
        (models.JSONField(), True),
        (HStoreField(), True),
        (ArrayField(models.CharField(max_length=9)), False),
        (ArrayField(models.JSONField()), True),
        (DateRangeField(), False),
    ],
)
def test_a_key_of_django_is_hashed_if_it_may_have_keys(field: Any, is_masked: bool) -> None:
    field.set_attributes_from_name("key")
    field.model = Product
    assert (recording._mask(RULES, "public", "t", field) is not None) == is_masked


@pytest.mark.parametrize(
    ("kind", "is_masked"),
    [
        (getattr(sqlalchemy, "Uuid", postgresql.UUID)(), False),
        (sqlalchemy.String(20), False),
        (sqlalchemy.DateTime(timezone=True), False),
        (sqlalchemy.Enum("a", "b", name="mood"), False),
        (sqlalchemy.ARRAY(sqlalchemy.Enum("a", "b", name="mood")), False),
        (sqlalchemy.ARRAY(sqlalchemy.Integer, dimensions=2), False),
        (postgresql.INT4RANGE(), False),
        (postgresql.ARRAY(postgresql.JSONB()), True),
        (postgresql.JSONB(), True),
        (sqlalchemy.types.NullType(), True),
    ],
)
def test_a_key_of_sqlalchemy_is_hashed_if_it_may_have_keys(kind: Any, is_masked: bool) -> None:
    table = sqlalchemy.Table("t", sqlalchemy.MetaData(), sqlalchemy.Column("key", kind, primary_key=True))
    assert (sqlalchemy_events._mask(RULES, table.c.key) is not None) == is_masked
