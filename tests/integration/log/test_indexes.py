"""Each question to the log uses an index, on a log that is large enough for it to matter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection, transaction

from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change
from bemi_django.schema import tracking
from sample_project.todos.models import Tag, Todo
from tests.support.project_database import execute

BEGIN = datetime(2031, 1, 1, tzinfo=timezone.utc)
#: Ten changes of a row, four of a request; one in 200 is a deletion, one in 500 came from psql.
FILL = """
INSERT INTO changes (id, database, schema, "table", primary_key, operation, before, after, context,
                     committed_at, queued_at, transaction_id, position, previous_primary_key)
SELECT lpad(to_hex(n), 32, '0')::uuid, current_database(), 'public',
       CASE WHEN n %% 50 = 0 THEN 'tag' WHEN n %% 3 = 0 THEN 'todo_tags' ELSE 'todo' END, n / 10,
       CASE WHEN n %% 200 = 0 THEN 'DELETE' ELSE 'UPDATE' END,
       row.value, row.value || '{"task": "new"}',
       CASE WHEN n %% 500 = 0 THEN '{"db_user": "ann"}'
            ELSE jsonb_build_object('user_id', n %% 997, 'request_id', 'r' || n / 4, 'SQL', repeat('x', 200))
       END,
       %s::timestamptz + n * interval '1 second', now(), 1000 + n / 4, n,
       CASE WHEN n %% 100 = 0 THEN (n / 10 + 1)::text END
FROM generate_series(1, %s) n
CROSS JOIN LATERAL (
    SELECT jsonb_build_object('id', n / 10, 'todo_id', n / 10, 'task', n::text, 'note', repeat('y', 200))
           AS value
) row
"""


@pytest.fixture
def log(transactional_db: None, request: pytest.FixtureRequest) -> Iterator[None]:
    execute("SELECT _bemi.partition_v1(%s)", [BEGIN])
    execute(FILL, [BEGIN, request.param])
    execute("VACUUM ANALYZE changes")
    yield
    execute("DROP TABLE changes_2031_01")


def scans(changes: ChangeQuerySet) -> set[str]:
    """The names of the indexes that the query reads in the large partition; ``seq`` for the partition."""
    (plan,) = json.loads(changes.explain(format="json"))
    return set(_scans(plan["Plan"]))


def _scans(node: dict[str, Any]) -> Iterator[str]:
    if node["Node Type"] == "Seq Scan" and node["Relation Name"] == "changes_2031_01":
        yield "seq"
    elif "Index Name" in node and "2031_01" in node["Index Name"]:
        yield node["Index Name"].removeprefix("changes_2031_01_").removesuffix("_idx")
    for child in node.get("Plans", ()):
        yield from _scans(child)


@pytest.mark.parametrize("log", [200_000], indirect=True)
def test_each_method_uses_its_index(log: None) -> None:
    changes, todo = Change.objects.all(), Todo(pk=77)
    moment = BEGIN + timedelta(hours=3)
    questions: list[tuple[str, Any, set[str]]] = [
        ("for_object", changes.for_object(todo), ROW),
        ("in a page", changes.for_object(todo).desc()[:10], ROW),
        ("field_changed", changes.for_object(todo).field_changed("task", to="x"), ROW),
        ("of_key", changes.for_model(Todo).of_key("77"), OBJECT),
        ("for_model", changes.for_model(Tag), {"table_primary_key_id"}),
        ("for_model in a page", changes.for_model(Todo).desc()[:10], {"pkey"}),
        ("in commit order", changes.asc()[:10], {"pkey"}),
        ("updated in a page", changes.updated().desc()[:10], {"pkey"}),
        ("deleted objects", changes.for_model(Tag).deleted().desc(), {"table_id"}),
        ("by", changes.by(7), {"context"}),
        ("in_request", changes.in_request("r99"), {"context"}),
        ("context", changes.context({"request_id": "r99"}), {"context"}),
        ("in_transaction", changes.in_transaction(1500), {"committed_at_transaction_id"}),
        ("between", changes.between(moment, moment + timedelta(minutes=1)), {"committed_at_transaction_id"}),
        ("outside", changes.outside(), {"id"}),
        ("outside in a page", changes.outside().desc()[:10], {"id"}),
    ]
    used = {name: scans(question) for name, question, _ in questions}
    assert used == {name: expected for name, _, expected in questions}


ROW = {"table_primary_key_id"}
#: The keys of a row are looked up in both directions.
OBJECT = {"table_primary_key_id", "table_previous_primary_key_id"}


@pytest.mark.parametrize("log", [40_000], indirect=True)
def test_values_and_belongings_use_the_indexes_that_a_setting_adds(log: None, settings: Any) -> None:
    settings.BEMI_INDEX_VALUES = True
    with transaction.atomic():
        assert tracking.sync().done == ["index: changes_before", "index: changes_after"]
        assert tracking.sync().done == []
        execute("ANALYZE changes")
        changes = Change.objects.all()
        assert scans(changes.before({"task": "77"})) == {"before"}
        assert scans(changes.after({"todo_id": 77})) == {"after"}
        assert scans(changes.field_changed("task", from_="77")) == {"before"}
        related = changes.for_object(Todo(pk=77), related=["tags"])
        assert scans(related) == {*ROW, "before", "after"}
        assert related.count() > changes.for_object(Todo(pk=77)).count()
        settings.BEMI_INDEX_VALUES = False
        assert tracking.sync(dry_run=True).done == ["no index: changes_before", "no index: changes_after"]
        assert scans(changes.before({"task": "77"})) == {"before"}
        assert tracking.sync().done == ["no index: changes_before", "no index: changes_after"]
        assert scans(changes.before({"task": "77"})) != {"before"}


@pytest.mark.django_db
def test_there_is_no_index_without_a_question() -> None:
    """Indexes are what writing the log costs most: those of the questions above and of the past."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'changes'")
        names = {name for (name,) in cursor.fetchall()}
    # Asked for by test_past_plans.py.
    of_the_past = {"changes_bigint", "changes_breaks", "changes_integer", "changes_uuid"}
    assert names - of_the_past == {
        "changes_committed_at",
        "changes_context",
        "changes_deleted",
        "changes_object",
        "changes_outside",
        "changes_pkey",
        "changes_previous_object",
    }
