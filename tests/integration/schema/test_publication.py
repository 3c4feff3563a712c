"""A publication that somebody has altered, so that the server sends less than was written."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from django.core.checks import run_checks

from bemi_django import conf
from bemi_django.schema import tracking
from tests.support.polling import until
from tests.support.project_database import execute

OF_TABLE = "ALTER PUBLICATION bemi DROP TABLE public.tag; ALTER PUBLICATION bemi ADD TABLE public.tag "


def said() -> list[str]:
    return [found.msg for found in run_checks(databases=["default"]) if found.id == "bemi.W004"]


@pytest.fixture
def altered(transactional_db: None) -> Iterator[None]:
    tracking.sync()
    yield
    tracking.sync()


@pytest.mark.parametrize("option", ["publish = 'insert, update'", "publish_via_partition_root = true"])
def test_options_that_leave_out_changes_are_said_and_corrected(option: str, altered: None) -> None:
    assert said() == []
    execute(f"ALTER PUBLICATION bemi SET ({option})")
    assert said() == ["The publication bemi of 'default' leaves out changes of tracked tables."]
    assert tracking.sync(dry_run=True).done == ["publication with all changes: bemi"]
    assert tracking.sync().done == ["publication with all changes: bemi"]
    assert said() == [] and tracking.sync().done == []
    assert execute("SELECT pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot FROM pg_publication") == [
        (True, True, True, True, False)
    ]


@pytest.mark.parametrize(
    ("before", "correct"),
    [
        (
            "ALTER PUBLICATION bemi SET (publish = 'insert')",
            "ALTER PUBLICATION bemi SET (publish = 'insert, update, delete, truncate')",
        ),
        ("DROP PUBLICATION bemi", "CREATE PUBLICATION bemi"),
    ],
    ids=["altered", "made"],
)
def test_two_sessions_that_correct_it_at_once_are_no_error(before: str, correct: str, altered: None) -> None:
    execute(before)
    with closing(psycopg2.connect(**conf.connection_parameters("default"))) as other:

        def wait_and_commit() -> None:
            until(lambda: others_wait(other))
            other.commit()

        with other.cursor() as cursor, ThreadPoolExecutor(1) as pool:
            cursor.execute(correct)
            waiting = pool.submit(wait_and_commit)
            outcome = tracking.sync()
            waiting.result()
    # Tables are published, but not what the other session has done.
    assert not outcome.failed and all(line.startswith("published: ") for line in outcome.done)
    assert said() == [] and tracking.sync().done == []


def others_wait(connection: Any) -> bool:
    """Whether a session waits for the transaction of a connection."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"
        )
        return bool(cursor.fetchone()[0])


@pytest.mark.postgres(15)
@pytest.mark.parametrize("part", ["WHERE (id > 5)", "(id)"])
def test_a_table_of_which_only_a_part_is_published_is_said_and_published_as_a_whole(
    part: str, altered: None
) -> None:
    execute(OF_TABLE + part)
    (message,) = said()
    assert "are in the publication with some of their rows or columns only: public.tag" in message
    assert tracking.sync().done == ["published as a whole: public.tag"]
    assert said() == [] and tracking.sync().done == []
