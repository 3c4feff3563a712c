"""Events of objects that were read from a standby are written to its primary."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import transaction

from bemi_django import BemiError, record
from bemi_django.events import recording
from tests.shop.models import Category
from tests.support.hot_standby import hot_standby
from tests.support.pipeline import Pipeline

pytestmark = pytest.mark.administrator


@pytest.fixture
def read(pipeline: Pipeline) -> Iterator[Category]:
    """An object of the standby."""
    with hot_standby() as alias:
        category = Category(pk=42)
        category._state.db = alias
        yield category


def test_the_primary_gets_what_a_standby_cannot_write(
    read: Category, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    record("viewed", read)
    with transaction.atomic(using=str(read._state.db)):
        record("sent", read)
    found = [(change.operation, change.table, change.key) for change in pipeline.drain()]
    assert found == [("EVENT", "shop_category", "42")] * 2
    assert [context["event"] for context in pipeline.contexts] == ["viewed", "sent"]
    alias = read._state.db
    monkeypatch.setattr(recording, "_aliases", lambda instance: [alias])
    with pytest.raises(BemiError, match="the database is a standby"):
        record("viewed", read)
    recording.try_to_emit("viewed", read)
    assert pipeline.drain() == []
