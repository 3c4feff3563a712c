"""Sessions of SQLAlchemy on Django's connection are in the past when the connection is."""

from __future__ import annotations

import pytest
from django.db import connection

from bemi_django.exceptions import PastIsReadOnly
from bemi_django.time_travel import as_of
from tests.shop.models import Category
from tests.support.bridge import bridge, sqlalchemy
from tests.support.pipeline import Drain
from tests.support.project_database import execute
from tests.support.travel import here, settled

select, text = sqlalchemy.select, sqlalchemy.text


@pytest.fixture
def moment(drain: Drain) -> str:
    Category.objects.create(name="old")
    moment = here()
    Category.objects.update(name="new")
    drain()
    return moment


@settled
def test_mapped_classes_and_qualified_names(moment: str) -> None:
    mapped = bridge.mapped(Category)
    with as_of(moment):
        with bridge.get_session() as session:
            assert session.scalars(select(mapped.name)).all() == ["old"]
            assert session.execute(text("SELECT name FROM public.shop_category")).all() == [("old",)]
        assert execute("SELECT name FROM shop_category") == [("old",)]
    with bridge.get_session() as session:
        assert session.scalars(select(mapped.name)).all() == ["new"]
    assert not connection.in_atomic_block


@settled
def test_a_write_is_refused(moment: str) -> None:
    mapped = bridge.mapped(Category)
    with as_of(moment):
        with bridge.get_session() as session:
            session.add(mapped(name="x"))
            with pytest.raises(PastIsReadOnly):
                session.commit()
        with bridge.get_session() as session, pytest.raises(PastIsReadOnly):
            session.execute(text("UPDATE shop_category SET name = 'x'"))
        with bridge.get_session() as session:
            assert session.scalars(select(mapped.name)).all() == ["old"]
    with pytest.raises(PastIsReadOnly), as_of(moment), bridge.get_session() as session:
        session.execute(text("SELECT nextval('shop_category_id_seq')"))
    assert Category.objects.get().name == "new"
