"""Moments with and without ``USE_TZ``, in any time zone."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone as django_timezone

from bemi_django.exceptions import HistoryError
from bemi_django.schema import tracking
from bemi_django.time_travel import as_of, read_as_of
from tests.shop.models import Category
from tests.support.pipeline import Drain
from tests.support.project_database import execute
from tests.support.travel import settled


@pytest.fixture(params=[True, False], ids=["USE_TZ", "no USE_TZ"])
def zoned(request: pytest.FixtureRequest, drain: Drain, settings: Any) -> Iterator[Drain]:
    settings.USE_TZ = request.param
    settings.TIME_ZONE = "America/St_Johns"
    with settled:
        yield drain
    connection.close()


def now() -> datetime:
    ((moment,),) = execute("SELECT clock_timestamp() AT TIME ZONE 'UTC'")
    found: datetime = moment.replace(tzinfo=timezone.utc)
    return found


def test_a_moment_is_the_same_in_every_notation(zoned: Drain) -> None:
    Category.objects.create(name="old")
    zoned()
    moment = now()
    Category.objects.update(name="new")
    zoned()
    local = django_timezone.make_naive(moment, django_timezone.get_current_timezone())
    elsewhere = moment.astimezone(timezone(timedelta(hours=5)))
    for notation in (moment, local, elsewhere):
        with as_of(notation):
            assert Category.objects.get().name == "old"
        assert read_as_of(Category.objects.all(), notation).get().name == "old"
        out = io.StringIO()
        call_command("bemi", "as-of", notation.isoformat(), "--", "dumpdata", "shop.Category", stdout=out)
        assert json.loads(out.getvalue())[0]["fields"] == {"name": "old"}


def test_what_is_not_known_is_said(zoned: Drain) -> None:
    with (
        pytest.raises(HistoryError, match=r"is before history is complete from 20.*\+00:00"),
        as_of(datetime(2001, 1, 1)),
    ):
        pass
    Category.objects.create(name="a")
    zoned()
    moment = now()
    execute("CREATE TABLE tool (id int PRIMARY KEY)")
    tracking.sync()
    try:
        with as_of(moment), pytest.raises(HistoryError, match="history of public.tool is complete from"):
            execute("SELECT * FROM tool")
        execute("TRUNCATE tool")
        zoned()
        with as_of(moment), pytest.raises(HistoryError, match="complete from"):
            execute("SELECT * FROM tool")
    finally:
        execute("DROP TABLE tool")
        tracking.sync()
