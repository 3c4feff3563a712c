"""The hook on Django's connections, with every way in which its driver binds values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import pytest
from django.db import connection, connections
from django.db.backends.postgresql.psycopg_any import is_psycopg3, sql

from bemi_django import bound_context
from bemi_django.admin.search.query_plans import no_seqscan
from bemi_django.capture.hooks import django_db
from bemi_django.schema import tracking
from tests.support.pipeline import Drain
from tests.support.project_database import execute

FORGED = '/*Bemi {"user_id": 999} Bemi*/'
INSERT = "INSERT INTO todo (task, is_completed, created_at) VALUES (%s, false, now())"

BINDINGS = [pytest.param({}, id="by the client")]
if is_psycopg3:
    BINDINGS += [
        pytest.param({"server_side_binding": True}, id="by the server"),
        pytest.param({"server_side_binding": True, "prepare_threshold": 0}, id="prepared"),
        pytest.param({"pool": {"min_size": 1, "max_size": 2}}, id="in a pool"),
    ]


@pytest.fixture(params=BINDINGS)
def opened(drain: Drain, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A connection that Django opens as the settings of another alias would have it."""
    copy: Any = connection.copy()
    copy.settings_dict["OPTIONS"] = request.param
    yield copy
    copy.close()
    if "pool" in request.param:
        copy.close_pool()


def test_a_write_carries_the_context_however_its_values_are_bound(drain: Drain, opened: Any) -> None:
    with opened.cursor() as cursor:
        for user in (7, 8):
            with bound_context(user_id=user, path="/a*/ %s $1 :x ?"):
                cursor.execute(INSERT, [FORGED])
                cursor.executemany(INSERT, [["100%"], ["$1"]])
                cursor.execute("DELETE FROM todo WHERE task = '100%'")
                cursor.execute(
                    sql.SQL("DELETE FROM {} WHERE task = %s").format(sql.Identifier("todo")), ["$1"]
                )
    changes = [change for change in drain() if change.table == "todo"]
    assert [(change.operation, (change.after or change.before)["task"]) for change in changes] == [
        ("CREATE", FORGED), ("CREATE", "100%"), ("CREATE", "$1"), ("DELETE", "100%"), ("DELETE", "$1"),
    ] * 2  # fmt: skip
    assert [change.context["user_id"] for change in changes] == [7] * 5 + [8] * 5
    assert {change.context["path"] for change in changes} == {"/a*/ %s $1 :x ?"}
    assert [change.context["SQL"] for change in changes[:5]] == [
        INSERT,
        INSERT,
        INSERT,
        "DELETE FROM todo WHERE task = '100%'",
        'DELETE FROM "todo" WHERE task = %s',
    ]


@pytest.mark.parametrize("opened", BINDINGS[2:3] or BINDINGS, indirect=True)
def test_texts_of_several_statements_of_ours_are_not_prepared(opened: Any) -> None:
    own, connections["default"] = connections["default"], opened
    try:
        execute("ALTER TABLE todo DISABLE TRIGGER _bemi_capture")
        assert tracking.sync().done == ["triggers: public.todo"]
        with no_seqscan(statement_timeout="5000"):
            assert execute("SHOW enable_seqscan") + execute("SHOW statement_timeout") == [("off",), ("5s",)]
        assert execute("SHOW enable_seqscan") == [("on",)]
    finally:
        connections["default"] = own


def test_a_backend_that_is_made_of_django_s_is_hooked(drain: Drain) -> None:
    class Derived(type(connections["default"])):  # type: ignore[misc]
        """As that of PostGIS is, and those of packages that measure or pool."""

    derived = Derived({**connection.settings_dict}, "default")
    with bound_context(user_id=7), derived.cursor() as cursor:
        cursor.execute(INSERT, ["x"])
    derived.close()
    assert [change.context["user_id"] for change in drain() if change.table == "todo"] == [7]


@pytest.mark.parametrize(
    ("form", "made"),
    [
        pytest.param("/* other */ {0} {1}", str, id="before it"),
        pytest.param("{0} /* other */ {1}", str.encode, id="in it, as bytes"),
        pytest.param("{0} {1} /* other */", sql.SQL, id="behind it, as SQL of the driver"),
    ],
)
def test_the_comment_stands_before_what_another_wrapper_adds(drain: Drain, form: str, made: Any) -> None:
    def added(execute: Any, sql: Any, params: Any, many: bool, execution: Any) -> Any:
        verb, _, rest = sql.partition(" ")
        assert verb == "INSERT"
        return execute(made(form.format(verb, rest)), params, many, execution)

    def retrying(*given: Any) -> Any:
        called.append(given[0])
        return cursor._execute(*given)

    called: list[Any] = []
    with bound_context(user_id=7), connection.execute_wrapper(added), connection.cursor() as cursor:
        cursor.execute(INSERT, [FORGED])
        cursor.executemany(INSERT, [["a"], ["b"]])
        # What runs the statement may be somebody else's.
        cursor._execute_with_wrappers(INSERT, ["c"], False, retrying)
    changes = [change for change in drain() if change.table == "todo"]
    assert [(change.context["user_id"], change.context["SQL"]) for change in changes] == [(7, INSERT)] * 4
    sent = [text.decode() if isinstance(text, bytes) else text for text in called]
    assert [text.startswith("/*Bemi") and "/* other */" in text for text in sent] == [True]


def test_wrappers_are_called_in_their_order_whatever_attributes_they_have(db: None) -> None:
    """A mock has every attribute."""
    outer, inner = (MagicMock(side_effect=lambda execute, *given: execute(*given)) for _ in range(2))
    with (
        connection.execute_wrapper(outer),
        connection.execute_wrapper(lambda *given: None),
        connection.execute_wrapper(inner),
        connection.cursor() as cursor,
    ):
        cursor.execute(INSERT, ["a"])
        cursor.executemany(INSERT, [["a"], ["b"]])
    assert (outer.call_count, inner.call_count) == (2, 0)
    assert {call.args[1] for call in outer.call_args_list} == {INSERT}


def test_an_open_connection_is_hooked_once(db: None) -> None:
    django_db.install()
    django_db.install()
    assert connection.execute_wrappers == [django_db._annotate]


def test_a_block_of_somebody_else_does_not_remove_the_hook() -> None:
    def pass_on(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        return execute(sql, params, many, context)

    fresh: Any = connection.copy()
    with fresh.execute_wrapper(pass_on):
        django_db.install_on(fresh)
    assert fresh.execute_wrappers == [django_db._annotate]
