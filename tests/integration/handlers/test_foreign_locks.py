"""A role that may do nothing but connect takes all locks that it can, and holds nobody up."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from django.db import connection, transaction

from bemi_django import conf, on_change
from bemi_django.handlers import registry
from bemi_django.handlers.bookmarks import Bookmarks
from bemi_django.handlers.dispatch import Dispatcher
from bemi_django.handlers.rhythm import Rhythm
from bemi_django.ingest.destination.histories import Histories
from bemi_django.ingest.queue.lane_locks import LaneLocks
from bemi_django.models import Change
from tests.shop.models import Category
from tests.support.pipeline import Drain
from tests.support.project_database import execute
from tests.support.strangers import STRANGER, stranger_session

QUICK = Rhythm(first_pause=0.05, longest_pause=0.1, look=0.01, note=0.0, grace=0.3)
#: All that were ever taken by something that records, or that follows DDL.
LOCKS = """
SELECT pg_advisory_lock(1650814313, extract(epoch FROM m AT TIME ZONE 'UTC')::bigint::integer / 86400)
    FROM generate_series(-1, 1) n CROSS JOIN LATERAL
        (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month') x (m);
SELECT pg_advisory_lock(hashtext('_bemi_past'));
SELECT pg_advisory_lock(hashtextextended(name, 0))
    FROM unnest(ARRAY['_bemi.histories', '_bemi.replay', '_bemi.consumers', '_bemi.lanes bemi_nothing.0',
                      '_bemi_handlers bemi_test listener']) name
"""


@pytest.fixture
def stranger(drain: Drain) -> Iterator[Any]:
    """A session of a role without any right that holds locks."""
    with stranger_session() as cursor:
        cursor.execute(LOCKS)
        yield cursor


def test_a_stranger_with_locks_stops_neither_recording_nor_ddl(drain: Drain, stranger: Any) -> None:
    Category.objects.create(name="Books")
    assert [change.table for change in drain()] == ["shop_category"]
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '2s'")
        try:
            cursor.execute("CREATE TABLE bait (id int PRIMARY KEY)")
            cursor.execute("DROP TABLE bait")
            cursor.execute("SELECT _bemi.recount_v1(now(), now())")
            with transaction.atomic():
                Histories("bemi_nothing").begin(cursor, "1", 1, 8, "a test")
                transaction.set_rollback(True)
        finally:
            cursor.execute("RESET lock_timeout")


@pytest.mark.parametrize("mode", ["", "_shared"])
def test_a_stranger_with_locks_of_lanes_keeps_no_consumer_from_them(stranger: Any, mode: str) -> None:
    stranger.execute("SELECT pg_advisory_unlock_all()")
    for name in ("_bemi.consumers", "_bemi.lanes bemi_nothing.0"):
        stranger.execute(f"SELECT pg_advisory_lock{mode}(hashtextextended(%s, 0))", [name])
    execute(
        "INSERT INTO _bemi.lanes (slot, lane, sequence, ordinal) SELECT 'bemi_nothing', n, 1, 0 "
        "FROM generate_series(0, 2) n"
    )
    try:
        with (
            closing(psycopg2.connect(**conf.connection_parameters("default"))) as one,
            closing(psycopg2.connect(**conf.connection_parameters("default"))) as other,
        ):
            lanes = LaneLocks(one)
            assert lanes.balance() == ([("bemi_nothing", lane) for lane in range(3)], [])
            # Those that are held by another consumer are left to it.
            assert ("bemi_nothing", 1) not in LaneLocks(other).balance()[0]
            lanes.balance()
    finally:
        execute("DELETE FROM _bemi.lanes WHERE slot = 'bemi_nothing'")


@pytest.fixture
def heard(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    settings.BEMI_SLOT = "bemi_test"
    monkeypatch.setattr(registry, "registered", {})
    names: list[str] = []

    @on_change(Category, name="listener")
    def listener(change: Change) -> None:
        names.append(change.after["name"])

    yield names
    execute("DELETE FROM _bemi.handlers")


def serve(drain: Drain) -> None:
    drain()
    Dispatcher("default", rhythm=QUICK).run(until_current=True)


def test_a_stranger_with_the_lock_of_a_handler_is_named_and_ignored(
    drain: Drain, heard: list[str], stranger: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "bemi_django"):
        serve(drain)
        Category.objects.create(name="Books")
        serve(drain)
    assert heard == ["Books"]
    assert STRANGER in caplog.text and str(stranger.connection.get_backend_pid()) in caplog.text


def test_a_bookmark_that_another_process_has_moved_is_not_moved_again(drain: Drain, heard: list[str]) -> None:
    serve(drain)
    one, other = Bookmarks("default", "listener"), Bookmarks("default", "listener")
    bookmark, same = one.read(), other.read()
    assert bookmark is not None and bookmark == same
    with transaction.atomic():
        one.save(bookmark._replace(attempts=1))
    with pytest.raises(Exception, match="another process has moved"), transaction.atomic():
        other.save(bookmark._replace(attempts=2))
    kept = one.read()
    assert kept is not None and kept.attempts == 1
    with transaction.atomic():
        one.save(kept._replace(attempts=2))
        one.save(kept._replace(attempts=3))
