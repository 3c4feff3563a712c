"""The past of tables of which something was left out: what is not known is never shown as something else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import override_settings

from bemi_django.exceptions import HistoryError
from bemi_django.ingest.selection.condition import Condition
from bemi_django.ingest.selection.rules import Selection
from bemi_django.schema import tracking
from bemi_django.time_travel import as_of
from bemi_django.wire.name_pattern import column_pattern, table_pattern
from tests.support.pipeline import Drain, Pipeline
from tests.support.project_database import execute


@pytest.fixture
def selecting(pipeline: Pipeline) -> Iterator[Any]:
    """Give the worker and sync rules; the worker begins again with each call."""
    everything = pipeline.config
    # Of other tests, whose tables may have had the same names.
    execute("DELETE FROM _bemi.omitted_columns")
    execute("DELETE FROM _bemi.omitted_changes")

    def select(*ignored: str, condition: Any = None) -> None:
        pipeline.drain()
        pipeline.stop()
        conditions = [(table_pattern("*"), Condition("c", condition))] if condition else []
        selection = Selection([column_pattern(pattern) for pattern in ignored], False, conditions)
        pipeline.config = everything._replace(selection=selection)
        with override_settings(BEMI_IGNORE_COLUMNS=ignored):
            tracking.sync()

    yield select
    pipeline.stop()
    pipeline.config = everything
    execute("DELETE FROM _bemi.omitted_columns")
    execute("DELETE FROM _bemi.omitted_changes")


def now(pipeline: Pipeline) -> str:
    """The present moment."""
    pipeline.drain()
    return str(execute("SELECT pg_current_wal_insert_lsn()::text")[0][0])


def read(pipeline: Pipeline, moment: str, query: str) -> list[Any]:
    pipeline.drain()
    with override_settings(BEMI_AS_OF_PATIENCE=0), as_of(moment), connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


ALL = "SELECT id, page, seen FROM lab.visit ORDER BY id"


def test_an_ignored_column_is_null_in_the_past_of_all_rows(pipeline: Pipeline, selecting: Any) -> None:
    execute("CREATE TABLE lab.visit (id int PRIMARY KEY, page text, seen int NOT NULL)")
    selecting("visit.seen")
    execute("INSERT INTO lab.visit VALUES (1, 'a', 1), (2, 'b', 1), (3, 'c', 1)")
    moment = now(pipeline)
    # One row changes in the log, one only in what is ignored, and one not at all.
    execute("UPDATE lab.visit SET page = 'x', seen = 2 WHERE id = 1")
    execute("UPDATE lab.visit SET seen = 3 WHERE id = 2")
    assert read(pipeline, moment, ALL) == [(1, "a", None), (2, "b", None), (3, "c", None)]
    # Nothing was left out since then: the present values are those of then.
    assert read(pipeline, now(pipeline), ALL) == [(1, "x", 2), (2, "b", 3), (3, "c", 1)]


def test_a_moment_before_and_after_the_setting_shows_no_wrong_value(
    pipeline: Pipeline, selecting: Any
) -> None:
    execute("CREATE TABLE lab.visit (id int PRIMARY KEY, page text, seen int)")
    execute("INSERT INTO lab.visit VALUES (1, 'a', 1), (2, 'a', 1)")
    moments = [(now(pipeline), {(1, "a", 1), (2, "a", 1)})]

    def write(statement: str) -> None:
        execute(statement)
        moments.append((now(pipeline), set(execute(ALL))))

    write("UPDATE lab.visit SET seen = 2 WHERE id = 1")
    selecting("visit.seen")
    write("UPDATE lab.visit SET seen = 3 WHERE id = 1")
    write("UPDATE lab.visit SET page = 'b', seen = 4 WHERE id = 1")
    write("UPDATE lab.visit SET seen = 5 WHERE id = 2")
    selecting()
    write("UPDATE lab.visit SET seen = 6")
    write("UPDATE lab.visit SET page = 'c'")
    write("DELETE FROM lab.visit WHERE id = 2")
    for number, (moment, rows) in enumerate(moments):
        found = set(read(pipeline, moment, ALL))
        unknown = {(key, page, None) for key, page, _ in rows}
        assert found in (rows, unknown), number
        # What was never left out since is known.
        assert found == (rows if number >= 4 else unknown), number


def test_a_renamed_column_is_not_known_where_its_old_name_was_ignored(
    pipeline: Pipeline, selecting: Any
) -> None:
    execute("CREATE TABLE lab.visit (id int PRIMARY KEY, page text, at int)")
    selecting("visit.at")
    execute("INSERT INTO lab.visit VALUES (1, 'a', 1)")
    moment = now(pipeline)
    execute("UPDATE lab.visit SET at = 2")
    execute("ALTER TABLE lab.visit RENAME at TO seen")
    tracking.sync()
    assert read(pipeline, moment, ALL) == [(1, "a", None)]


def test_without_sync_the_past_says_what_to_do(pipeline: Pipeline, selecting: Any) -> None:
    selecting("visit.seen")
    execute("CREATE TABLE lab.visit (id int PRIMARY KEY, page text, seen int)")
    execute("SELECT _bemi.past_make_v1(500)")
    execute("INSERT INTO lab.visit VALUES (1, 'a', 1)")
    moment = now(pipeline)
    execute("UPDATE lab.visit SET seen = 2")
    with pytest.raises(HistoryError, match=r"lab\.visit\.seen .* run 'manage\.py bemi sync'"):
        read(pipeline, moment, ALL)
    tracking.sync()
    assert read(pipeline, moment, ALL) == [(1, "a", None)]


def test_the_past_of_a_table_with_a_condition_is_known_since_its_last_omission(
    pipeline: Pipeline, selecting: Any
) -> None:
    execute("CREATE TABLE lab.visit (id int PRIMARY KEY, page text, seen int)")
    selecting(condition=lambda table, before, after: after.get("page") != "bot")
    before = now(pipeline)
    execute("INSERT INTO lab.visit VALUES (1, 'bot', 1)")
    after = now(pipeline)
    execute("INSERT INTO lab.visit VALUES (2, 'a', 1)")
    with pytest.raises(HistoryError, match="a condition .* left changes of lab.visit out"):
        read(pipeline, before, ALL)
    assert read(pipeline, after, ALL) == [(1, "bot", 1)]


def test_sync_says_once_what_is_ignored(pipeline: Pipeline, selecting: Any) -> None:
    execute("CREATE TABLE lab.visit (id int PRIMARY KEY, page text, seen int)")
    with override_settings(BEMI_IGNORE_COLUMNS=["lab.visit.*"]):
        assert "ignored: lab.visit.seen" in tracking.sync(dry_run=True).done
        assert {line for line in tracking.sync().done if "ignored" in line} == {
            "ignored: lab.visit.page",
            "ignored: lab.visit.seen",
        }
        assert not tracking.sync().done
    assert "no longer ignored: lab.visit.seen" in tracking.sync().done


def test_a_masked_column_is_null_in_the_past_and_no_row_is_chosen_by_it(drain: Drain) -> None:
    tracking.sync()
    User.objects.bulk_create([User(username=name, password="x", email="old") for name in ("ann", "bob")])
    drain()
    (moment,) = execute("SELECT pg_current_wal_insert_lsn()::text")[0]
    User.objects.filter(username="ann").update(email="new")
    drain()
    with override_settings(BEMI_AS_OF_PATIENCE=0), as_of(moment):
        users: dict[str, Any] = {user.username: user for user in User.objects.order_by("username")}
        assert {name: (user.email, user.password) for name, user in users.items()} == {
            "ann": ("old", None),
            "bob": ("old", None),
        }
        assert {user.unknown_fields for user in users.values()} == {frozenset(["password"])}
        assert list(User.objects.values_list("password", flat=True)) == [None, None]
        for query in (User.objects.filter(password="x"), User.objects.order_by("password")):
            with pytest.raises(HistoryError, match="auth_user.password"):
                list(query)
    assert User.objects.get(password="x", username="bob").email == "old"


def test_masked_columns_are_noted_whatever_the_address_of_the_log(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.person (id int PRIMARY KEY, password text)")
    pipeline.drain()
    pipeline.stop()
    destination = pipeline.config.destination
    other = {**destination, "host": ",".join([str(destination["host"])] * 2)}
    execute("INSERT INTO lab.person VALUES (1, 'x')")
    pipeline.run(pipeline.config._replace(destination=other))
    query = 'SELECT "column" FROM _bemi.omitted_columns WHERE slot = %s AND "table" = %s'
    assert execute(query, [pipeline.slot, "person"]) == [("password",)]
