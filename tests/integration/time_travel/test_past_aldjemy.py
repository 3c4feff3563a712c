"""aldjemy's session is on Django's connection: it is in the past when the connection is."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from bemi_django.exceptions import PastIsReadOnly
from bemi_django.time_travel import as_of
from sample_project.optional import aldjemy_usable
from tests.shop.models import Category
from tests.support.pipeline import Drain
from tests.support.travel import here, settled

pytestmark = pytest.mark.skipif(not aldjemy_usable(), reason="aldjemy needs SQLAlchemy 1.4 and psycopg2")


@settled
def test_names_with_a_schema(drain: Drain) -> None:
    Category.objects.create(name="old")
    moment = here()
    Category.objects.update(name="new")
    drain()
    text: Any = importlib.import_module("sqlalchemy").text
    session = importlib.import_module("aldjemy.session").get_session()
    with as_of(moment):
        assert session.execute(text("SELECT name FROM shop_category")).all() == [("old",)]
        assert session.execute(text("SELECT name FROM public.shop_category")).all() == [("old",)]
        with pytest.raises(PastIsReadOnly):
            session.execute(text("UPDATE public.shop_category SET name = 'x'"))
    assert session.execute(text("SELECT name FROM public.shop_category")).all() == [("new",)]
