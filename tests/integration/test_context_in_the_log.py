"""What contexts leave in the log: silence with its reason, spans, ids of parents."""

from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.db.models import F
from opentelemetry import trace

from bemi_django import apply_context, bound_context, skip_tracking
from sample_project.todos.models import Tag, Todo
from tests.integration.conftest import Drain


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
