from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg2
import pytest
from django.db import DatabaseError, connection

from bemi_django import conf
from bemi_django.ingest.destination.partitions import Partitions
from sample_project.todos.models import Todo
from tests.support.pipeline import Drain
from tests.support.polling import until
from tests.support.project_database import another_session

EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)
DECEMBER = datetime(2031, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc)


def microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def query(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


def names() -> set[str]:
    return {
        name
        for (name,) in query(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'changes'::regclass"
        )
    }


def insert(moment: datetime) -> None:
    query(
        'INSERT INTO changes (id, database, schema, "table", operation, committed_at, queued_at, '
        "transaction_id, position) "
        "VALUES (gen_random_uuid(), '', '', '', 'CREATE', %s, now(), 0, 0)",
        moment,
    )


@pytest.fixture
def destination(transactional_db: None) -> Iterator[Any]:
    opened = psycopg2.connect(**conf.connection_parameters("default"))
    yield opened
    opened.close()
    for name in names():
        if "203" in name:
            query(f"DROP TABLE {name}")


def test_a_change_lies_in_the_partition_of_its_month_and_the_next_month_is_ready(drain: Drain) -> None:
    Todo.objects.create(task="x")
    drain()
    now = datetime.now(timezone.utc)
    following = (now.replace(day=1) + timedelta(days=32)).strftime("changes_%Y_%m")
    assert {now.strftime("changes_%Y_%m"), following} <= names()


def test_the_months_are_those_of_utc_whatever_the_session(destination: Any) -> None:
    with destination, destination.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'Asia/Tokyo'")
    partitions = Partitions(destination)
    partitions.make(microseconds(DECEMBER))
    assert {"changes_2031_12", "changes_2032_01"} <= names()
    assert partitions.covers(microseconds(DECEMBER))
    assert not partitions.covers(microseconds(DECEMBER) + 1)
    insert(DECEMBER)
    insert(DECEMBER + timedelta(microseconds=1))
    assert (
        query("SELECT count(*) FROM changes_2031_12")
        == query("SELECT count(*) FROM changes_2032_01")
        == [(1,)]
    )


@pytest.mark.parametrize("statement", ["SELECT count(*) FROM changes", "UPDATE changes SET diverged = false"])
def test_a_partition_waits_for_no_reader_and_no_writer(destination: Any, statement: str) -> None:
    Partitions(destination).make(microseconds(DECEMBER))
    with closing(psycopg2.connect(**conf.connection_parameters("default"))) as other:
        other.cursor().execute(statement)
        with destination, destination.cursor() as cursor:
            cursor.execute("SET lock_timeout = '1s'")
        Partitions(destination).make(microseconds(DECEMBER + timedelta(days=31)))
    assert "changes_2032_02" in names()


def test_two_workers_make_the_same_partition_once(destination: Any) -> None:
    def make() -> None:
        opened = psycopg2.connect(**conf.connection_parameters("default"))
        try:
            Partitions(opened).make(microseconds(DECEMBER))
        except Exception as error:
            errors.append(error)
        finally:
            opened.close()

    errors: list[Exception] = []
    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert {"changes_2031_12", "changes_2032_01"} <= names()


def test_indexes_of_a_partition_are_those_of_the_log(destination: Any) -> None:
    Partitions(destination).make(microseconds(DECEMBER))
    count = "SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass"
    assert query(count, "changes_2031_12") == query(count, "changes")
    attached = (
        "SELECT count(*) FROM pg_inherits i JOIN pg_index x ON x.indexrelid = i.inhrelid "
        "WHERE x.indrelid = %s::regclass"
    )
    assert query(attached, "changes_2031_12") == query(count, "changes")


def test_a_month_that_is_detached_by_half_says_what_to_run(destination: Any) -> None:
    Partitions(destination).make(microseconds(DECEMBER))

    def is_pending() -> bool:
        with suppress(DatabaseError):
            # It waits for the reader; an operator, or a timeout, ends that.
            query("ALTER TABLE changes DETACH PARTITION changes_2031_12 CONCURRENTLY")
        return query("SELECT count(*) FROM pg_inherits WHERE inhdetachpending") == [(1,)]

    query("SET statement_timeout = '300ms'")
    with another_session() as reader:
        reader.execute("SELECT count(*) FROM changes")
        until(is_pending)
    query("RESET statement_timeout")
    with pytest.raises(psycopg2.Error) as raised:
        Partitions(destination).make(microseconds(DECEMBER))
    # The month before can be written.
    Partitions(destination).make(microseconds(DECEMBER - timedelta(days=31)))
    message = str(raised.value).splitlines()[0]
    for statement in message.partition(" Run ")[2].split("; "):
        query(statement)
    Partitions(destination).make(microseconds(DECEMBER))
    insert(DECEMBER)
    query("DELETE FROM changes")
