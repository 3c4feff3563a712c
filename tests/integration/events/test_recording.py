"""Events in the log: in their place, exactly once, with the context, taken back only as they are meant to."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, models, transaction
from django.utils import timezone

from bemi_django import arecord, bound_context, record, skip_tracking
from bemi_django.exceptions import NoModel
from bemi_django.models import Change
from tests.shop.models import Category, Product
from tests.support.passing_models import meta_of, passing_models
from tests.support.pipeline import Drain
from tests.support.project_database import execute


class Given(Exception):
    """What ends a transaction of a test."""


def brief(changes: list[Change]) -> list[tuple[str, str, str | None, Any]]:
    return [(one.operation, one.table, one.primary_key, one.context.get("event")) for one in changes]


@pytest.fixture
def category(drain: Drain) -> Category:
    category = Category.objects.create(name="Lamps")
    drain()
    return category


def test_an_event_is_a_change_with_the_context_and_the_details(drain: Drain, category: Category) -> None:
    before = timezone.now()
    with bound_context(user_id=7, event="mine", details=1, app_details=2):
        record("sent", category, to="a@example.com", copies=2, transactional="yes")
    (event,) = drain()
    assert brief([event]) == [("EVENT", "shop_category", str(category.pk), "sent")]
    assert event.schema == "public" and event.before == event.after == {}
    assert event.object == category and event.diff() == {}
    assert event.context == {
        "event": "sent",
        "details": {"to": "a@example.com", "copies": 2, "transactional": "yes"},
        "user_id": 7,
        "app_event": "mine",
        "app_details": 2,
        "app_app_details": 1,
    }
    assert abs(event.committed_at - before) < timedelta(minutes=1)
    assert list(Change.objects.for_object(category).filter(operation="EVENT")) == [event]
    assert list(Change.objects.context({"event": "sent"}).by(7)) == [event]


@pytest.mark.parametrize("key", ["no number", "9" * 40, "-1", "[1, 2]", "\u00e9"])
def test_an_event_with_a_key_that_no_row_has_has_no_object(drain: Drain, key: str) -> None:
    content = json.dumps({"event": "e", "schema": "public", "table": "shop_category", "key": key})
    execute("SELECT pg_logical_emit_message(false, '_bemi_event', %s::text)", [content])
    (event,) = drain()
    assert event.primary_key == key and event.object is None


def test_an_event_of_no_object_has_a_table_of_its_own(drain: Drain) -> None:
    record("deployed", version="1.2")
    (event,) = drain()
    assert (event.schema, event.table, event.primary_key) == ("_bemi", "events", None)
    with pytest.raises(NoModel, match=r"no model has the table _bemi\.events"):
        _ = event.object
    assert event.context == {"event": "deployed", "details": {"version": "1.2"}}


def test_in_a_transaction_that_writes_it_has_its_place_among_the_rows(drain: Drain) -> None:
    with bound_context(job="sale"), transaction.atomic():
        first = Category.objects.create(name="A")
        record("approved", first)
        second = Category.objects.create(name="B")
        record("approved", second)
    changes = drain()
    assert brief(changes) == [
        ("CREATE", "shop_category", str(first.pk), None),
        ("EVENT", "shop_category", str(first.pk), "approved"),
        ("CREATE", "shop_category", str(second.pk), None),
        ("EVENT", "shop_category", str(second.pk), "approved"),
    ]
    assert len({one.transaction_id for one in changes}) == len({one.position for one in changes}) == 1
    assert {one.context["job"] for one in changes} == {"sale"}
    assert "SQL" in changes[2].context and "SQL" not in changes[1].context


def test_it_has_its_place_after_the_savepoint_in_which_it_is_recorded(drain: Drain) -> None:
    with transaction.atomic():
        first = Category.objects.create(name="A")
        for number in range(3):
            with transaction.atomic():
                record("approved", first, number=number)
            Category.objects.create(name=f"{number}")
    found = [one.after.get("name", one.context.get("details", {}).get("number")) for one in drain()]
    assert found == ["A", 0, "0", 1, "1", 2, "2"]


def test_a_rollback_takes_back_what_belongs_to_the_transaction_and_nothing_else(
    drain: Drain, category: Category
) -> None:
    with pytest.raises(Given), transaction.atomic():
        record("before any write", category)
        Category.objects.create(name="B")
        record("approved", category)
        record("viewed", category)
        raise Given
    assert [one.context["event"] for one in drain()] == ["before any write", "viewed"]


def test_a_rollback_to_a_savepoint_takes_it_back(drain: Drain, category: Category) -> None:
    with transaction.atomic():
        Category.objects.create(name="B")
        with pytest.raises(Given), transaction.atomic():
            Category.objects.create(name="C")
            record("approved", category)
            raise Given
        record("refused", category)
    assert [one.context.get("event") for one in drain()] == [None, "refused"]


def test_ids_are_distinct_and_in_order(drain: Drain, category: Category) -> None:
    for number in range(30):
        record("viewed", category, number=number)
        if number % 3 == 0:
            Category.objects.create(name=f"n{number}")
    changes = drain()
    assert len({one.pk for one in changes}) == len(changes) == 40
    assert sorted(changes, key=lambda one: one.pk) == changes
    events = [one for one in changes if one.operation == "EVENT"]
    assert [one.context["details"]["number"] for one in events] == list(range(30))
    assert {one.transaction_id for one in events} == {0}
    times = [one.committed_at for one in changes]
    assert times == sorted(times)


def test_a_worker_that_begins_again_writes_no_event_twice(drain: Drain, category: Category) -> None:
    for _ in range(3):
        record("viewed", category)
        assert len(drain()) == 1
        assert drain() == []
    assert Change.objects.filter(operation="EVENT").count() == 3


def test_an_event_is_never_skipped_but_where_nothing_is_tracked(drain: Drain, category: Category) -> None:
    with skip_tracking(reason="a test"):
        record("viewed", category)
        Category.objects.create(name="B")
    record("viewed", category)
    assert [one.operation for one in drain()] == ["SKIPPED", "EVENT"]


def test_a_name_and_a_saved_object_are_needed(drain: Drain) -> None:
    for name in ("", "x" * 101):
        with pytest.raises(ValueError, match="1 to 100 bytes"):
            record(name)
    with pytest.raises(ValueError, match="save it before"):
        record("viewed", Category(name="new"))
    assert drain() == []


def test_a_coroutine_can_record(drain: Drain, category: Category) -> None:
    async def recorded() -> None:
        await arecord("viewed", category, by="robot")
        await sync_to_async(connections.close_all)()

    with bound_context(task=1):
        asyncio.run(recorded())
    (event,) = drain()
    assert event.context == {"event": "viewed", "details": {"by": "robot"}, "task": 1}


def test_any_value_can_be_a_detail(drain: Drain) -> None:
    record(
        "any \0 'thing' % \ud800",
        text="\0'%$1 \\ \ud800",
        many=[1.5, None, {"a": Given}],
        password="row-value",
    )
    (event,) = drain()
    details = event.context["details"]
    assert event.context["event"] == "any \u2400 'thing' % \ufffd"
    assert details["text"] == "\u2400'%$1 \\ \ufffd"
    assert details["many"][0] == 1.5 and "Given" in details["many"][2]["a"]
    assert details["password"] == "***"


def test_a_key_that_is_masked_is_the_hash_that_rows_have(drain: Drain, settings: Any) -> None:
    from bemi_django.events.recording import _key

    settings.BEMI_MASK = {"shop_product.id": "hash"}
    settings.BEMI_MASK_KEY = "k" * 32
    plain, other = Product(pk=42), Product(pk=43)
    assert _key(Category(pk=42), "public", "shop_category") == "42"
    keys = {_key(each, "public", "shop_product") for each in (plain, other)}
    assert len(keys) == 2 and "42" not in keys
    assert Change.objects.count() == 0


def sent_mails() -> list[type[models.Model]]:
    """Declare a model whose table has one column more in its key."""

    class Mailed(models.Model):  # noqa: DJ008
        mail = models.CharField(max_length=50)
        Meta = meta_of('mails"."mailed', managed=False)

    return [Mailed]


def test_a_masked_column_of_the_key_that_only_the_table_has_is_not_told(drain: Drain, settings: Any) -> None:
    settings.BEMI_MASK = {"mails.mailed.mail": "hash"}
    settings.BEMI_MASK_KEY = "k" * 32
    with passing_models(sent_mails, "mails") as (mailed,):
        try:
            execute("CREATE TABLE mails.mailed (id int, mail text, PRIMARY KEY (id, mail))")
            record("read", mailed(pk=7, mail="ann@example.org"))
            (event,) = drain()
        finally:
            execute("DROP SCHEMA mails CASCADE")
    # Nothing is kept of a key with a masked part.
    assert brief([event]) == [("EVENT", "mailed", None, "read")]
    assert "ann@" not in json.dumps(event.context)


def test_a_model_of_several_tables_has_events_under_its_own(drain: Drain, category: Category) -> None:
    product = Product.objects.create(sku="x", category=category)
    drain()
    record("viewed", Product.objects.get(pk=product.pk))
    assert brief(drain()) == [("EVENT", "shop_product", str(product.pk), "viewed")]


def test_an_event_that_must_not_fail_is_logged_instead(
    drain: Drain, category: Category, caplog: pytest.LogCaptureFixture
) -> None:
    from bemi_django.events.recording import try_to_emit

    with pytest.raises(Given), transaction.atomic():
        with connection.cursor() as cursor, pytest.raises(Exception, match="division"):
            cursor.execute("SELECT 1 / 0")
        try_to_emit("viewed", category, {"secret": "row-value"})
        raise Given
    assert [record.getMessage() for record in caplog.records] == [
        "the event 'viewed' was not recorded: InternalError"
    ]
    assert drain() == []


def test_a_forged_time_is_not_believed(drain: Drain, category: Category) -> None:
    Category.objects.create(name="B")
    for stated in ("-5", "", "0", "9" * 18, "8" * 40):
        execute(f"""SELECT pg_logical_emit_message(false, '_bemi_event', '{stated}{{"event": "forged"}}')""")
    changes = drain()
    assert len(changes) == 6
    now = timezone.now()
    assert all(now - timedelta(minutes=1) < one.committed_at <= now for one in changes)
