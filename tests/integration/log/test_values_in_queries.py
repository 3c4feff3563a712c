"""Queries take the values that fields take, and find them as the log has them."""

from __future__ import annotations

import datetime
import enum
import importlib
import ipaddress
import json
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.core.files.base import ContentFile
from django.db import connection, models
from django.db.backends.postgresql.psycopg_any import DateRange, DateTimeTZRange, NumericRange
from django.db.models import F, Subquery, Value
from django.test.utils import isolate_apps
from django.utils import timezone
from django.utils.functional import SimpleLazyObject, lazy
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import settings as fuzzing
from hypothesis import strategies as st

from bemi_django import bound_context
from bemi_django.log.blame import blame
from bemi_django.log.printing import interval, json_text, key_text
from bemi_django.log.values.json_values import contained
from bemi_django.models import Change
from bemi_django.schema import tracking
from sample_project.todos.models import Tag
from tests.support.pipeline import Drain
from tests.support.project_database import execute


class Colour(enum.Enum):
    RED = "red"


UTC = datetime.timezone.utc
KEY = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


class Size(models.IntegerChoices):
    SMALL = 1, "Small"
    LARGE = 2, "Large"


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


@pytest.fixture(scope="module")
def shapes() -> Any:
    if not apps.is_installed("tests.shapes"):
        pytest.skip("tests.shapes is not installed beside aldjemy")
    return importlib.import_module("tests.shapes.models")


@pytest.mark.django_db
@pytest.mark.parametrize(("kind", "value"), VALUES, ids=str)
def test_a_value_is_what_to_jsonb_makes_of_it(kind: str, value: Any) -> None:
    given = value.value if isinstance(value, enum.Enum) else value
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TimeZone = 'UTC'")
        query = f"SELECT jsonb_build_object('x', %s::{kind}) @> %s::jsonb"
        cursor.execute(query, [given, contained({"x": value})])
        assert cursor.fetchone() == (True,)


KEYS: list[tuple[str, Any]] = [
    *((kind, value) for kind, value in VALUES if kind != "int[]"),
    *(("float8", value) for value in (1.0, -0.0, 5e-324, 1e-5, 1e14, 1e15, -1234567890123456.0, 1e16, 1e22)),
    ("float8", float("nan")),
    ("numeric", Decimal("1E-9")),
    ("numeric", Decimal("1E+9")),
    ("interval", datetime.timedelta(days=-1, microseconds=-7)),
    ("interval", datetime.timedelta(seconds=-7)),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("kind", "value"), KEYS, ids=str)
def test_a_key_is_printed_as_the_server_prints_it(kind: str, value: Any) -> None:
    given = value.value if isinstance(value, enum.Enum) else value
    if isinstance(given, datetime.timedelta):
        # A driver may send the parts of an interval with signs of their own.
        given = interval(given)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TimeZone = 'UTC'")
        cursor.execute(
            f"SELECT format('%%s', %s::{kind}), jsonb_build_array(%s::{kind})::text", [given, given]
        )
        one, several = cursor.fetchone()
    assert key_text([value]) == one
    if kind not in ("bool", "bytea"):
        assert json.loads(f"[{json_text(value)}]") == json.loads(several)
        assert kind not in ("float8", "numeric") or f"[{json_text(value)}]" == several


@pytest.mark.django_db
def test_floats_where_the_server_begins_to_write_an_exponent() -> None:
    @fuzzing(max_examples=20, deadline=None)
    @given(st.lists(st.floats(1e14, 1.8e16), min_size=1, max_size=100))
    def check(values: list[float]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT unnest(%s::float8[])::text", [values])
            assert [key_text([value]) for value in values] == [row[0] for row in cursor.fetchall()]

    check()
    assert key_text([-1000000000000000.5]) == "-1.0000000000000005e+15"


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


NOON = datetime.datetime(2024, 1, 1, 12, 30, tzinfo=UTC)
NUMBERS = SimpleLazyObject(lambda: [1, 2])
#: A field, a value that it stores, and others that it takes for the same.
TAKEN: list[tuple[str, Any, list[Any]]] = [
    ("big", 2, ["2", " 2", 2.0, Decimal(2), SimpleLazyObject(lambda: 2), lazy(lambda: 2, int)(), Size.LARGE]),
    ("real", 1.5, ["1.5", Decimal("1.5"), SimpleLazyObject(lambda: 1.5)]),
    ("amount", Decimal("2.20"), ["2.20", "2.2", 2.2, SimpleLazyObject(lambda: Decimal("2.2"))]),
    ("flag", True, ["True", "true", "t", "1", 1, SimpleLazyObject(lambda: True)]),
    ("name", "5", [5, gettext_lazy("5"), SimpleLazyObject(lambda: 5)]),
    ("note", "1.10", [Decimal("1.10")]),
    ("slug", "2024-2-9", []),
    ("file", "a.txt", [ContentFile(b"", name="a.txt")]),
    ("day", datetime.date(2024, 2, 9), ["2024-02-09", "2024-2-9", datetime.datetime(2024, 2, 9, 12)]),
    ("moment", NOON, [
        "2024-01-01 12:30", "2024-01-01T14:30:00+02:00", NOON.replace(tzinfo=None), NOON.isoformat(),
    ]),
    ("clock", datetime.time(12, 30), ["12:30", "12:30:00.0"]),
    ("span", datetime.timedelta(days=1, hours=2), ["1 02:00:00", "P1DT2H"]),
    ("raw", b"ab", [bytearray(b"ab"), memoryview(b"ab")]),
    ("address", "2001:db8::1", ["2001:DB8:0:0::1", ipaddress.ip_address("2001:db8::1")]),
    ("key", KEY, [str(KEY), KEY.hex, str(KEY).upper(), KEY.urn, SimpleLazyObject(lambda: KEY)]),
    ("data", {"a": [1, None]}, [SimpleLazyObject(lambda: {"a": [1, None]})]),
    ("data", "2", []),
    ("size", Size.LARGE, [2, "2"]),
    ("numbers", [1, 2], [(1, 2), NUMBERS]),
    ("keys", [KEY], [[str(KEY)]]),
    ("pairs", {"a": "1", "b": None}, []),
    ("ints", NumericRange(1, 5), [NumericRange(0, 4, "(]"), "[1,5)"]),
    ("days", DateRange(datetime.date(2024, 1, 1), None), ["[2024-01-01,)"]),
    ("moments", DateTimeTZRange(NOON, None), []),
    ("cased", "Aa", []),
]  # fmt: skip


def test_what_a_field_takes_is_found_as_it_was_stored(drain: Drain, shapes: Any, engine: Any) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    from bemi_django.integrations.sqlalchemy_changes import Change as Row
    from bemi_django.integrations.sqlalchemy_changes import after, field_changed, for_table

    model = shapes.Everything
    rows = [model.objects.create(**{field: value}) for field, value, _ in TAKEN]
    for row, (field, _, _) in zip(rows, TAKEN, strict=True):
        model.objects.filter(pk=row.pk).update(mail="x")
        model.objects.filter(pk=row.pk).update(**{field: None})
    drain()
    failed = []
    with engine.connect() as opened:
        for row, (field, stored, others) in zip(rows, TAKEN, strict=True):
            for value in (stored, *others):
                found = []
                for log in (
                    Change.objects.for_model(model),
                    Change.objects.filter(table="shapes_everything"),
                ):
                    own = log.of_key(str(row.pk))
                    found += [own.after({field: value}).count(), own.before({field: value}).count()]
                    found.append(own.field_changed(field, from_=value, to=None).count())
                    found.append(own.after_not({field: value}).count())
                for criterion in (after({field: value}), field_changed(field, from_=value, to=None)):
                    question = sqlalchemy.select(sqlalchemy.func.count()).select_from(Row)
                    question = question.where(for_table("shapes_everything"), criterion)
                    found.append(opened.execute(question.where(Row.primary_key == str(row.pk))).scalar())
                if found != [2, 2, 1, 1, 2, 2, 1, 1, 2, 1]:
                    failed.append((field, value, found))
    assert failed == []
    assert Change.objects.for_model(model).after({"data": 2}).count() == 0


@pytest.mark.django_db
@pytest.mark.parametrize(
    "value", [F("stock"), Value(3), Tag.objects.all(), Subquery(Tag.objects.values("pk"))]
)
def test_an_expression_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="is an expression"):
        Change.objects.by(value)
    with pytest.raises(TypeError, match="is an expression"):
        Change.objects.for_model(Tag).after({"name": value})
    with pytest.raises(TypeError, match="is an expression"):
        Change.objects.field_changed("name", to=value)


def test_users_are_found_by_key_and_instance(drain: Drain) -> None:
    key, tag = uuid.uuid4(), Tag(pk=8)
    with bound_context(user_id=key):
        Tag.objects.create(name="a")
    with bound_context(user_id=tag.pk):
        Tag.objects.create(name="b")
    drain()
    for form in (key, str(key), key.hex, str(key).upper()):
        assert Change.objects.by(form).count() == 1
    assert Change.objects.by(tag).count() == 1 == Change.objects.by(8).count()
    # As it comes from an address.
    assert Change.objects.by("8").count() == 1 and Change.objects.by("08").count() == 0


class Stamp(models.DateTimeField):  # type: ignore[type-arg]
    """A moment that is stored in seconds."""

    def db_type(self, connection: Any) -> str:
        return "bigint"

    def get_prep_value(self, value: Any) -> Any:
        return int(value.timestamp())

    def from_db_value(self, value: int, expression: Any, connection: Any) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(value, UTC)


class SentStamp(Stamp):
    """The same, made when it is sent."""

    get_prep_value = models.DateTimeField.get_prep_value

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return int(value.timestamp())


@pytest.mark.parametrize("use_tz", [True, False], ids=["USE_TZ", "naive"])
def test_times_are_found_in_any_time_zone(use_tz: bool, drain: Drain, settings: Any) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "America/St_Johns"
    with isolate_apps("tests.shop"):

        class Day(models.Model):  # noqa: DJ008
            at = models.DateTimeField(primary_key=True)
            seen = models.DateTimeField()
            stamp = Stamp()
            sent = SentStamp()

            objects: models.Manager[Any] = models.Manager()

            class Meta:
                app_label = "shop"

    with connection.schema_editor() as editor:
        editor.create_model(Day)
    try:
        tracking.sync()
        moment = timezone.now().replace(microsecond=120)
        day = Day.objects.create(at=moment, seen=moment, stamp=moment, sent=moment)
        Day.objects.update(seen=moment + datetime.timedelta(days=1))
        drain()
        changes = Change.objects.for_object(day)
        assert changes.count() == 2
        assert changes.after({"seen": moment}).count() == 1 == changes.before({"seen": moment}).count()
        assert changes.field_changed("seen", from_=moment).count() == 1
        assert Change.objects.for_model(Day).after({"stamp": moment}).after({"sent": moment}).count() == 2
        assert changes.before_not({"seen": moment}).after_not({"at": moment}).count() == 0
        assert blame(day)["seen"].previous == changes[0].after["seen"]
    finally:
        execute("DROP TABLE shop_day")
        connection.close()


def test_contexts_are_found_by_what_was_put_into_them(drain: Drain, engine: Any) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    from bemi_django.integrations.sqlalchemy_changes import Change as Row
    from bemi_django.integrations.sqlalchemy_changes import by, context, context_not

    kept = {f"k{number}": value for number, (_, value) in enumerate(VALUES)}
    kept["deep"] = {"list": [Decimal("1.10"), datetime.date(2024, 1, 1)]}
    with bound_context(**kept, user_id=VALUES[2][1]):
        Tag.objects.create(name="a")
    drain()
    with engine.connect() as opened:
        for key, value in kept.items():
            wanted = {key: value}
            assert Change.objects.context(wanted).exists(), wanted
            assert not Change.objects.context_not(wanted).exists(), wanted
            for criterion, number in ((context(wanted), 1), (context_not(wanted), 0)):
                question = sqlalchemy.select(sqlalchemy.func.count()).select_from(Row).where(criterion)
                assert opened.execute(question).scalar() == number
        question = sqlalchemy.select(sqlalchemy.func.count()).select_from(Row).where(by(VALUES[2][1]))
        assert opened.execute(question).scalar() == 1 == Change.objects.by(VALUES[2][1]).count()


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
