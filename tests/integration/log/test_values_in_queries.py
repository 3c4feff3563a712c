"""Queries take the values that fields take, and find them as the log has them."""

from __future__ import annotations

import datetime
import enum
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from bemi_django import bound_context
from bemi_django.log.json_values import contained
from bemi_django.models import Change
from sample_project.todos.models import Tag
from tests.support.pipeline import Drain
from tests.support.project_database import execute


class Colour(enum.Enum):
    RED = "red"


UTC = datetime.timezone.utc
VALUES = [
    ("uuid", uuid.uuid4()),
    ("date", datetime.date(2024, 2, 29)),
    (
        "timestamptz",
        datetime.datetime(2024, 1, 1, 12, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
    ),
    ("timestamp", datetime.datetime(2024, 1, 1, 12, 30, 0, 50)),
    ("time", datetime.time(12, 30, 0, 100)),
    ("numeric", Decimal("1.10")),
    ("numeric", Decimal("123456789012345678901234567890.123456789")),
    ("numeric", Decimal("NaN")),
    ("float8", 0.1),
    ("float8", float("-inf")),
    ("bytea", b"\x00\xff"),
    ("text", Colour.RED),
    ("text", "\u00e4 \"' \\ %s {}"),
    ("int", 7),
    ("bool", True),
    ("interval", datetime.timedelta(days=1, hours=2, microseconds=5000)),
    ("interval", datetime.timedelta(days=-1, hours=2)),
    ("interval", datetime.timedelta(0)),
    ("interval", datetime.timedelta(days=2)),
    ("int[]", [1, 2]),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("kind", "value"), VALUES, ids=str)
def test_a_value_is_what_to_jsonb_makes_of_it(kind: str, value: Any) -> None:
    given = value.value if isinstance(value, enum.Enum) else value
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TimeZone = 'UTC'")
        query = f"SELECT jsonb_build_object('x', %s::{kind}) @> %s::jsonb"
        cursor.execute(query, [given, contained({"x": value})])
        assert cursor.fetchone() == (True,)


HOSTILE: list[Any] = [
    "a\0b",
    "\ud800",
    object(),
    {1: {2, 3}},
    [b"\0"],
    float("nan"),
    10**5000,
    10**200_000,
    Decimal("1E+999999"),
    Decimal("sNaN"),
]


@pytest.mark.django_db
@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_values_find_nothing(number: int) -> None:
    value = HOSTILE[number]
    for changes in (
        Change.objects.after({"x": value}),
        Change.objects.by(value),
        Change.objects.context({"x": value}),
    ):
        assert not changes.exists()
    assert not Change.objects.field_changed("x", from_=value, to=value).exists()


def test_users_are_found_by_key_and_instance(drain: Drain) -> None:
    key, tag = uuid.uuid4(), Tag(pk=8)
    with bound_context(user_id=key):
        Tag.objects.create(name="a")
    with bound_context(user_id=tag.pk):
        Tag.objects.create(name="b")
    drain()
    assert Change.objects.by(key).count() == 1 == Change.objects.by(str(key)).count()
    assert Change.objects.by(tag).count() == 1 == Change.objects.by(8).count()


def test_sqlalchemy_takes_the_same(drain: Drain, engine: Any) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    from bemi_django.integrations.sqlalchemy_changes import Change as Row
    from bemi_django.integrations.sqlalchemy_changes import after, by

    key = uuid.uuid4()
    with bound_context(user_id=key):
        Tag.objects.create(name="red")
    drain()
    with engine.connect() as opened:
        for criterion in (by(key), after({"name": Colour.RED})):
            question = sqlalchemy.select(sqlalchemy.func.count()).select_from(Row).where(criterion)
            assert opened.execute(question).scalar() == 1
    assert execute("SELECT count(*) FROM tag") == [(1,)]
