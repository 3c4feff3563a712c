"""Every type of column: what one side writes, the other reads."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.backends.postgresql.psycopg_any import RANGE_TYPES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# It skips the module where SQLAlchemy is older; the shapes are not installed there.
from tests.support.bridge import bridge, sqlalchemy

# isort: split
from tests.shapes.models import Colour, Everything, Size

pytestmark = pytest.mark.django_db

Range = sqlalchemy.dialects.postgresql.Range

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)
moments = st.datetimes(dt.datetime(1000, 1, 2), dt.datetime(9000, 1, 1), timezones=st.just(dt.timezone.utc))
numbers = st.integers(-(2**31), 2**31 - 1)
amounts = st.decimals(-(10**8), 10**8, places=3)
plain = st.recursive(
    st.booleans() | numbers | text, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=5
)


def ranges(bounds: Any) -> Any:
    # A range of whole numbers or days comes back as PostgreSQL spells it: with the upper bound outside.
    ordered = st.tuples(bounds, bounds).filter(lambda both: both[0] < both[1])
    return ordered.map(lambda both: Range(*both, bounds="[)")) | st.just(Range(empty=True))


VALUES = {
    "big": st.integers(-(2**63), 2**63 - 1),
    "small": st.integers(-(2**15), 2**15 - 1),
    "positive": st.integers(0, 2**31 - 1),
    "flag": st.booleans(),
    "real": st.floats(allow_nan=False),
    "amount": amounts,
    "name": text,
    "note": text,
    "slug": text,
    "mail": text,
    "file": text,
    "day": st.dates(),
    "moment": moments,
    "clock": st.times(),
    "span": st.timedeltas(dt.timedelta(-(10**6)), dt.timedelta(10**6)),
    "raw": st.binary(max_size=20),
    # PostgreSQL writes some IPv6 addresses (::102:304) in another way than Python.
    "address": st.ip_addresses(v=4).map(str) | st.sampled_from(["::1", "2001:db8::7"]),
    "key": st.uuids(),
    "data": plain,
    "coded": plain,
    "colour": st.sampled_from(["r", "g"]),
    "size": st.sampled_from([1, 2]),
    "numbers": st.lists(numbers, max_size=3),
    "grid": st.lists(st.tuples(text, text).map(list), max_size=3),
    "keys": st.lists(st.uuids(), max_size=3),
    "pairs": st.dictionaries(text, st.none() | text, max_size=3),
    "ints": ranges(st.integers(-(2**31), 2**31 - 2)),
    "bigs": ranges(st.integers(-(2**63), 2**63 - 2)),
    "decimals": ranges(amounts),
    "days": ranges(st.dates(max_value=dt.date(9000, 1, 1))),
    "moments": ranges(moments),
    "vector": st.sampled_from(["'a':1 'b':2", ""]),
    "cased": text,
    "code": text,
}


def as_django(value: Any) -> Any:
    """A value as SQLAlchemy has it: only ranges and bytes differ."""
    if isinstance(value, RANGE_TYPES):
        if value.isempty:
            return Range(empty=True)
        return Range(value.lower, value.upper, bounds=value._bounds)
    return bytes(value) if isinstance(value, memoryview) else value


def for_django(name: str, value: Any) -> Any:
    field: Any = Everything._meta.get_field(name)
    if not isinstance(value, Range):
        return value
    return field.range_type(value.lower, value.upper, value.bounds, empty=value.empty)


@pytest.mark.parametrize("name", VALUES)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_values_go_both_ways(name: str, data: st.DataObject) -> None:
    # Django writes an empty text where it has no file.
    value = data.draw(VALUES[name] if name == "file" else st.none() | VALUES[name])
    mapped = bridge.mapped(Everything)
    with bridge.get_session() as session:
        made = mapped(**{name: value})
        session.add(made)
        session.commit()
        assert getattr(made, name) == value
        row = Everything.objects.get(pk=made.id)
        found = getattr(row, name)
        assert as_django(found.name if name == "file" else found) == value
        kept = Everything.objects.create(**{name: for_django(name, value)})
        assert getattr(session.get(mapped, kept.pk), name) == value
        # What the other side has read, this side takes.
        session.add(mapped(**{name: for_django(name, value)}))
        session.commit()


def test_every_column_is_tried() -> None:
    columns = {field.attname for field in Everything._meta.concrete_fields}
    assert columns == {"id", "place", *VALUES}


def test_types_have_djangos_names() -> None:
    from django.db import connections

    from bemi_django.integrations.sqlalchemy.types import type_of

    dialect = sqlalchemy.dialects.postgresql.dialect()
    for field in Everything._meta.concrete_fields:
        ours = type_of(field, connections["default"])
        assert ours is not None
        spelled = ours.compile(dialect=dialect).lower()
        theirs = field.db_type(connection) or ""
        same = {
            "float": "double precision",
            "time without time zone": "time",
            "varchar(9)[][]": "varchar(9)[2][]",
        }
        assert same.get(spelled, spelled) == theirs.replace(" identity", "")


def test_choices_are_what_they_store() -> None:
    mapped = bridge.mapped(Everything)
    with bridge.get_session() as session:
        made = mapped(colour=Colour.GREEN, size=Size.LARGE)
        session.add(made)
        session.commit()
        assert (made.colour, made.size) == ("g", 2) and type(made.colour) is str and type(made.size) is int


def test_a_field_of_ones_own_is_what_it_stores() -> None:
    mapped = bridge.mapped(Everything)
    with bridge.get_session() as session:
        made = mapped(place="(1,2)", code="x")
        session.add(made)
        session.commit()
        assert (made.place, made.code) == ("(1,2)", "x")


def test_json_goes_through_the_encoder_of_its_field() -> None:
    mapped = bridge.mapped(Everything)
    key = uuid.UUID(int=7)
    with bridge.get_session() as session:
        made = mapped(coded={"at": dt.date(2020, 1, 2), "key": key, "amount": Decimal("1.50")})
        session.add(made)
        session.commit()
        assert made.coded == {"at": "2020-01-02", "key": str(key), "amount": "1.50"}


def test_the_types_are_the_same_on_an_engine_of_its_own() -> None:
    from sqlalchemy import literal, select

    mapped = bridge.mapped(Everything)
    values = {"address": "::1", "data": {"a": "b"}, "key": uuid.UUID(int=1), "ints": Range(1, 2), "raw": b"x"}
    typed = [literal(value, mapped.__table__.c[name].type).label(name) for name, value in values.items()]
    with bridge.get_engine().connect() as opened:
        assert dict(opened.execute(select(*typed)).mappings().one()) == values
    bridge.get_engine().dispose()
