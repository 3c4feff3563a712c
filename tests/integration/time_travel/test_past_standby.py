"""``as_of()`` on a hot standby: nothing is written there, and the primary is asked for the log's progress."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from django.db import connections, router
from django.test.utils import CaptureQueriesContext

from bemi_django.exceptions import LogBehind, PastIsReadOnly
from bemi_django.time_travel import as_of, read_as_of
from tests.shop.models import Category, Product
from tests.support.hot_standby import hot_standby
from tests.support.pipeline import Pipeline
from tests.support.polling import until
from tests.support.project_database import execute
from tests.support.travel import here


@pytest.fixture
def replica(pipeline: Pipeline) -> Iterator[str]:
    with hot_standby() as alias:
        yield alias


class ReadsAnywhere:
    """A router that lets models be read from a replica once, and then from another one twice."""

    def __init__(self, replica: str) -> None:
        self._aliases = cycle((replica, "default", "default"))

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return next(self._aliases)

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


@pytest.mark.administrator
def test_a_standby_shows_the_past(replica: str, pipeline: Pipeline, settings: Any) -> None:
    execute("CREATE TABLE lab.tool (id int PRIMARY KEY, word text)")
    execute("INSERT INTO lab.tool VALUES (1, 'old')")
    moment = here()
    execute("UPDATE lab.tool SET word = 'new'")
    pipeline.stop()

    def words(statement: str = "SELECT word FROM lab.tool") -> list[tuple[str]]:
        with connections[replica].cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def has_arrived() -> bool:
        return words("SELECT to_regclass('lab.tool')::text") == [("lab.tool",)] and words() == [("new",)]

    until(has_arrived)
    with Pipeline.of_project("bemi_laboratory").worker(), as_of(moment, using=replica):
        assert words() == words("SELECT word FROM lab.tool WHERE id = 1") == [("old",)]
        with pytest.raises(PastIsReadOnly):
            words("UPDATE lab.tool SET word = 'x'")
        routers, settings.DATABASE_ROUTERS = settings.DATABASE_ROUTERS, [ReadsAnywhere(replica)]
        with CaptureQueriesContext(connections["default"]) as elsewhere:
            assert list(read_as_of(Product.objects.all(), moment)) == []
        assert not elsewhere.captured_queries
        one = Product()
        one._state.db = replica
        assert {router.db_for_read(Category, instance=one) for _ in range(2)} == {replica}
        settings.DATABASE_ROUTERS = routers
    assert words() == [("new",)]
    pipeline.source.administer("SELECT pg_drop_replication_slot(%s)", [pipeline.slot])
    settings.BEMI_AS_OF_PATIENCE = 1e9
    with pytest.raises(LogBehind, match="slot .* is gone.*--accept-gap"), as_of(moment, using=replica):
        pass
