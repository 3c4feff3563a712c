"""What reads the log as changes of rows is not disturbed by events of these rows."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from bemi_django import on_change, record
from bemi_django.exceptions import RevertConflict
from bemi_django.handlers.feed import FIRST, LAST, Feed, FeedSpan
from bemi_django.handlers.registry import registered
from bemi_django.log.blame import blame
from bemi_django.models import Change
from bemi_django.schema import tracking
from bemi_django.time_travel import as_of
from bemi_django.verification.verify import Options, verify
from tests.shop.models import Category
from tests.support import roles
from tests.support.pipeline import Drain, Pipeline, worker_config
from tests.support.project_database import execute


@pytest.fixture
def drain(brief_drain: Drain) -> Drain:
    return brief_drain


@pytest.fixture
def lamps(drain: Drain) -> Category:
    """A row with a change before, between and after events."""
    lamps = Category.objects.create(name="Lamp")
    record("viewed", lamps)
    drain()
    return lamps


def test_the_past_is_the_same(drain: Drain, lamps: Category, settings: Any) -> None:
    tracking.sync()
    other = Category.objects.create(name="Other")
    (created,) = drain()
    record("viewed", lamps)
    (viewed,) = drain()
    Category.objects.filter(pk=lamps.pk).update(name="Lamps")
    record("viewed", lamps)
    record("viewed", other)
    drain()
    settings.BEMI_AS_OF_PATIENCE = 0
    for moment in (created, viewed, viewed.committed_at):
        with as_of(moment):
            assert Category.objects.get(pk=lamps.pk).name == "Lamp"
            assert Category.objects.get(pk=other.pk).name == "Other"
            record("viewed", Category.objects.get(pk=lamps.pk))
    found = drain()
    assert [(one.operation, one.schema) for one in found] == [("EVENT", "public")] * 3


def test_a_late_event_is_no_late_change(drain: Drain, lamps: Category) -> None:
    tracking.sync()
    Category.objects.filter(pk=lamps.pk).update(name="Lamps")
    (changed,) = drain()
    record("viewed", lamps)
    with Pipeline.of_project("bemi_test").worker(), as_of(changed):
        assert Category.objects.get(pk=lamps.pk).name == "Lamps"


def test_blame_passes_events_over(drain: Drain, lamps: Category) -> None:
    Category.objects.filter(pk=lamps.pk).update(name="Lamps")
    record("viewed", lamps)
    changed, _ = drain()
    found = blame(Category.objects.get(pk=lamps.pk))
    assert found["name"].change == changed and not found["name"].is_pending
    assert found["id"].change is not None and found["id"].change.operation == "CREATE"


def test_a_revert_leaves_events_alone(drain: Drain, lamps: Category) -> None:
    with transaction.atomic():
        Category.objects.filter(pk=lamps.pk).update(name="Lamps")
        record("approved", lamps)
    _, event = changes = drain()
    assert [one.operation for one in changes] == ["UPDATE", "EVENT"]
    plan = Change.objects.in_transaction(event.transaction_id).revert()
    assert [step.action for step in plan.steps] == ["update"]
    lamps.refresh_from_db()
    assert lamps.name == "Lamp"
    with pytest.raises(RevertConflict, match="an event has changed nothing"):
        event.revert()


def test_verify_finds_nothing(drain: Drain, lamps: Category) -> None:
    gone = Category.objects.create(name="Gone")
    key = gone.pk
    gone.delete()
    record("viewed", Category(pk=key))
    record("viewed", Category(pk=10_000_000))
    drain()
    with Pipeline.of_project("bemi_test").worker():
        options = Options(only=["public.shop_category"])
        (result,) = verify(worker_config("bemi_test", role=roles.OWNER), options)
    assert result.differences == 0


def test_the_history_of_an_object_has_its_events(drain: Drain, lamps: Category) -> None:
    old = Category(pk=lamps.pk)
    execute(f"UPDATE shop_category SET id = id + 1000 WHERE id = {lamps.pk}")  # noqa: S608
    record("viewed", old)
    drain()
    moved = Category.objects.get(name="Lamp")
    found = [one.operation for one in Change.objects.for_object(moved)]
    assert found[:3] == ["CREATE", "EVENT", "UPDATE"]
    # Its key is not taken for one that another row has had since.
    assert [one.operation for one in Change.objects.for_object(old)][:3] == ["CREATE", "EVENT", "UPDATE"]


def test_a_handler_may_ask_for_events(drain: Drain, lamps: Category) -> None:
    with pytest.raises(ValueError, match="EVENT"):
        on_change(Category, operations=["VIEW"])

    def noted(change: Change) -> None:
        pass

    on_change(Category, operations=["EVENT"], name="of_events")(noted)
    handler = registered.pop("of_events")
    ((system,),) = execute("SELECT system_identifier::text FROM pg_control_system()")
    feed = Feed(handler, "default")
    found = list(feed.of(FeedSpan(system, FIRST, LAST)))
    assert [one.context["event"] for one in found if one.primary_key == str(lamps.pk)] == ["viewed"]
