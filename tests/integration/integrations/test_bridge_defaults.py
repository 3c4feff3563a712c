"""What Django fills in, SQLAlchemy fills in: in the ORM and in Core, on insert and on update."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import django
import pytest
from django.utils import timezone

# It skips the module where SQLAlchemy is older; the shapes are not installed there.
from tests.support.bridge import bridge, sqlalchemy

# isort: split
from tests.shapes import models
from tests.shapes.models import Defaults

pytestmark = pytest.mark.django_db

LONG_AGO = dt.datetime(2000, 1, 1, tzinfo=dt.timezone.utc)


def assert_filled_in(found: Any) -> None:
    assert (found.flag, found.colour, found.numbers, found.data, found.empty, found.unknown) == (
        False, "r", [1, 2], {}, "", None,
    )  # fmt: skip
    assert isinstance(found.key, uuid.UUID)
    for moment in (found.since, found.made_at, found.changed_at):
        assert abs(timezone.now() - moment) < dt.timedelta(minutes=1)
    assert isinstance(found.changed_on, dt.date)


def test_an_object_gets_them_when_it_is_inserted() -> None:
    with bridge.get_session() as session:
        made = bridge.mapped(Defaults)()
        session.add(made)
        session.commit()
        assert_filled_in(made)
    assert_filled_in(Defaults.objects.get())


def test_rows_of_core_each_get_their_own() -> None:
    table = bridge.mapped(Defaults).__table__
    with bridge.get_session() as session:
        session.execute(table.insert(), [{"unknown": 1}, {"unknown": 2}])
        session.execute(table.insert().values(unknown=3))
        session.commit()
    rows = list(Defaults.objects.all())
    for row in rows:
        assert row.unknown in (1, 2, 3)
        row.unknown = None
        assert_filled_in(row)
    assert len({row.key for row in rows}) == 3


def test_what_is_given_is_kept() -> None:
    with bridge.get_session() as session:
        session.add(bridge.mapped(Defaults)(flag=True, numbers=[], made_at=LONG_AGO))
        session.commit()
    found = Defaults.objects.get()
    assert (found.flag, found.numbers, found.made_at) == (True, [], LONG_AGO)


def test_an_update_renews_auto_now_and_nothing_else() -> None:
    mapped = bridge.mapped(Defaults)
    update = sqlalchemy.update(mapped).values(unknown=1)
    for by_core in (True, False):
        pk = Defaults.objects.create().pk
        Defaults.objects.update(
            made_at=LONG_AGO, changed_at=LONG_AGO, changed_on=LONG_AGO.date(), since=LONG_AGO
        )
        with bridge.get_session() as session:
            if by_core:
                session.execute(update)
            else:
                session.get(mapped, pk).unknown = 1
            session.commit()
        found = Defaults.objects.get()
        assert found.unknown == 1 and found.made_at == found.since == LONG_AGO
        assert found.changed_at > LONG_AGO and found.changed_on > LONG_AGO.date()
        found.delete()


@pytest.mark.skipif(django.VERSION < (5, 0), reason="needs GeneratedField and db_default")
def test_what_the_database_fills_in_is_read_back() -> None:
    mapped = bridge.mapped(models.Computed)
    with bridge.get_session() as session:
        made = mapped(side=3)
        session.add(made)
        session.commit()
        assert (made.area, made.state, made.both) == (9, "new", 1)
        made.side = 4
        session.commit()
        assert made.area == 16
        session.add(mapped(side=1, state="old"))
        session.commit()
    assert set(models.Computed.objects.values_list("area", "state")) == {(16, "new"), (1, "old")}


@pytest.mark.skipif(django.VERSION < (5, 0), reason="needs GeneratedField")
def test_a_generated_column_is_read_only() -> None:
    with bridge.get_session() as session:
        session.add(bridge.mapped(models.Computed)(side=3, area=1))
        with pytest.raises(sqlalchemy.exc.ProgrammingError, match="area"):
            session.commit()
