# ruff: noqa: S608 - the SQL of tests
"""What contexts leave in the log: silence with its reason, spans, ids of parents."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace

from bemi_django import apply_context, bound_context, skip_tracking
from bemi_django.models import Change
from bemi_django.wire import RESERVED_KEYS
from sample_project.todos.models import Tag, Todo
from tests.support.pipeline import Drain, Pipeline
from tests.support.project_database import execute


def test_what_is_skipped_leaves_one_change_a_table_and_transaction(drain: Drain) -> None:
    with transaction.atomic(), bound_context(user_id=7):
        kept = Todo.objects.create(task="kept")
        with skip_tracking(reason="rebuild"):
            Todo.objects.bulk_create([Todo(task=str(number)) for number in range(5)])
            Tag.objects.create(name="x")
            Todo.objects.update(task=F("task"))
            with pytest.raises(RuntimeError), transaction.atomic():
                Todo.objects.all().delete()
                raise RuntimeError
        Todo.objects.filter(pk=kept.pk).delete()
    with skip_tracking(reason="reset"), connection.cursor() as cursor:
        cursor.execute("TRUNCATE todo CASCADE")

    changes = drain()
    assert [(change.operation, change.table, change.primary_key) for change in changes[:4]] == [
        ("CREATE", "todo", str(kept.pk)),
        ("SKIPPED", "todo", None),
        ("SKIPPED", "tag", None),
        ("DELETE", "todo", str(kept.pk)),
    ]
    rebuild = {"user_id": 7, "reason": "rebuild"}
    todos, tags = changes[1:3]
    assert todos.context == {**rebuild, "rows": {"CREATE": 5, "UPDATE": 6}}
    assert tags.context == {**rebuild, "rows": {"CREATE": 1}}
    assert todos.before == todos.after == {} and todos.transaction_id == changes[0].transaction_id
    truncated = {change.table: change for change in changes[4:]}
    assert set(truncated) == {"todo", "todo_tags"}
    assert truncated["todo"].operation == "SKIPPED"
    assert truncated["todo"].context == {"reason": "reset", "rows": {"TRUNCATE": 1}}


@pytest.mark.parametrize("key", sorted(RESERVED_KEYS))
def test_a_key_of_ours_in_a_context_makes_no_change_from_outside(drain: Drain, key: str) -> None:
    with bound_context(**{key: "mine"}):
        Todo.objects.create(task="only the key")
        with bound_context(user_id=7):
            Todo.objects.create(task="and a user")
            with transaction.atomic(), connection.cursor() as cursor:
                apply_context()
                cursor.execute(
                    "CREATE FUNCTION pg_temp.touch() RETURNS void LANGUAGE sql AS "
                    "$$UPDATE public.todo SET task = task$$"
                )
                cursor.execute("SELECT pg_temp.touch()")
    changes = drain()
    assert len(changes) == 4
    assert Change.objects.outside().filter(pk__in=[change.pk for change in changes]).count() == 0
    for change, user in zip(changes, [None, 7, 7, 7], strict=True):
        assert change.context[f"app_{key}"] == "mine"
        assert change.context["SQL"].startswith(("INSERT INTO", "SELECT pg_temp"))
        assert change.context.get("user_id") == user
        assert "db_user" not in change.context
    with bound_context(**{f"app_{key}": "also mine", key: "mine"}):
        Todo.objects.create(task="both")
    (both,) = drain()
    assert (both.context[f"app_{key}"], both.context[f"app_app_{key}"]) == ("also mine", "mine")


def test_what_carries_no_comment_is_skipped_with_apply_context(drain: Drain) -> None:
    with transaction.atomic(), skip_tracking(reason="import"):
        apply_context()
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE FUNCTION pg_temp.add() RETURNS void LANGUAGE sql AS "
                "$$INSERT INTO public.todo (task, is_completed, created_at) VALUES ('f', false, now())$$"
            )
            cursor.execute("SELECT pg_temp.add()")
    (change,) = drain()
    assert (change.operation, change.context["rows"]) == ("SKIPPED", {"CREATE": 1})


def test_the_active_span_is_recorded_at_each_write(drain: Drain) -> None:
    for number in (1, 2):
        span = trace.NonRecordingSpan(trace.SpanContext(trace_id=0xABC, span_id=number, is_remote=False))
        with trace.use_span(span):
            Todo.objects.create(task=str(number))
    Todo.objects.create(task="none")
    one, two, none = (change.context for change in drain())
    assert one["trace_id"] == two["trace_id"] == f"{0xABC:032x}"
    assert [one["span_id"], two["span_id"]] == [f"{1:016x}", f"{2:016x}"]
    assert "trace_id" not in none


def test_an_inner_context_keeps_the_id_of_the_outer_one(drain: Drain) -> None:
    with bound_context(request_id="r", user_id=7), bound_context(id="import", reason="monthly"):
        Todo.objects.create(task="import")
        with bound_context(id="row"):
            Todo.objects.create(task="row")
    outer, inner = ({key: value for key, value in c.context.items() if key != "SQL"} for c in drain())
    assert outer == {"request_id": "r", "user_id": 7, "id": "import", "reason": "monthly"}
    assert inner == {**outer, "id": "row", "parent_id": "import"}


#: With what could be taken for the place where the statement stands, and with what a comment must escape.
CONTEXTS: list[dict[str, Any]] = [
    {"user": 7},
    {"user": 7, "nested": {"a": 1, "SQL": "x"}, "b": 2},
    {"note": ',"SQL": ', "path": "/a%b/", "said": 'say "x"'},
    {"back": "\\u0022", "path": "/a/"},
]
STEPS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(CONTEXTS), st.integers(0, 2)),
    st.tuples(st.just("plain"), st.just({}), st.integers(0, 2)),
    st.tuples(st.just("apply"), st.sampled_from(CONTEXTS), st.just(0)),
    st.tuples(st.sampled_from(["savepoint", "rollback", "release"]), st.just({}), st.just(0)),
)


class Session:
    """What the rows of one transaction ought to have as their contexts; all goes back with a savepoint."""

    def __init__(self) -> None:
        self.expected: list[dict[str, Any]] = []
        self._applied: dict[str, Any] = {}
        self._savepoints: list[tuple[Any, list[dict[str, Any]], dict[str, Any]]] = []

    def do(self, what: str, context: dict[str, Any], number: int) -> None:
        statement = f"INSERT INTO lab.t VALUES ({number})"
        if what == "write":
            with bound_context(**context):
                execute(statement)
            self.expected.append({**context, "SQL": statement})
        elif what == "plain":
            with connection.connection.cursor() as cursor:
                cursor.execute(statement)
            self.expected.append({**(self._applied or OUTSIDE), "SQL": statement})
        elif what == "apply":
            with bound_context(**context):
                apply_context()
            self._applied = context
        elif what == "savepoint":
            self._savepoints.append((connection.savepoint(), list(self.expected), self._applied))
        elif self._savepoints:
            savepoint, expected, applied = self._savepoints.pop()
            if what == "release":
                connection.savepoint_commit(savepoint)
            else:
                connection.savepoint_rollback(savepoint)
                self.expected, self._applied = expected, applied


OUTSIDE = {"db_user": "?", "application_name": "?"}


def test_each_row_has_the_context_of_its_statement_whatever_was_taken_back(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.t (id int)")
    pipeline.drain()

    @given(st.lists(STEPS, max_size=12))
    @settings(max_examples=40)
    def check(steps: list[tuple[str, dict[str, Any], int]]) -> None:
        session = Session()
        with transaction.atomic():
            for step in steps:
                session.do(*step)
        pipeline.drain()
        found = [
            {**context, **{key: "?" for key in OUTSIDE if key in context}} for context in pipeline.contexts
        ]
        assert found == session.expected

    check()
