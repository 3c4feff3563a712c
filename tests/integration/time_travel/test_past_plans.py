# ruff: noqa: S608 - the SQL of tests
"""How the past is read: a key goes to the index of the log, which is not read from one end to the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bemi_django.time_travel import as_of
from tests.support.pipeline import Drain
from tests.support.project_database import execute
from tests.support.server_conditions import no_event_triggers
from tests.support.travel import here, settled

CHANGES = """
INSERT INTO changes (id, database, schema, "table", primary_key, operation, before, after,
                     committed_at, queued_at, transaction_id, position)
SELECT (left(_bemi.bound_v1(position)::text, 19) || '8000-000000000001')::uuid, current_database(), 'public',
       'thing', row.key::text, 'UPDATE',
       jsonb_set(to_jsonb(row), '{{n}}', to_jsonb(row.n - 1)), to_jsonb(row), now(), now(), 1, position
FROM (
    SELECT t.*, (pg_lsn '{moment}' - '0/0')::bigint / 8 * 8 + 8 * row_number() OVER () AS position
    FROM thing t WHERE n <= 5000
) row
"""
KEYS = {
    "bigint": "g",
    "integer": "g",
    "uuid": "md5(g::text)::uuid",
    "text": "'k' || g",
    "varchar(9)": "'k' || g",
}


@pytest.fixture(params=KEYS)
def thing(request: pytest.FixtureRequest, drain: Drain) -> Iterator[str]:
    """20,000 rows, and changes of 5,000 of them since; the moment is before them."""
    # Rows that are older than the log, which need not be written to it.
    with no_event_triggers():
        execute(f"CREATE TABLE thing (key {request.param} PRIMARY KEY, n int, other int)")
        execute("CREATE INDEX thing_other ON thing (other)")
        execute(
            f"INSERT INTO thing SELECT {KEYS[request.param]}, g, g % 500 FROM generate_series(1, 20000) g"
        )
    drain()
    moment = here()
    execute(CHANGES.format(moment=moment))
    # To where the changes are said to lie.
    execute("SELECT pg_logical_emit_message(false, '', repeat('x', 100000))")
    execute("ANALYZE thing")
    execute("ANALYZE changes")
    with settled:
        yield moment
    execute("DROP TABLE thing")


def nodes(query: str) -> list[dict[str, Any]]:
    """The nodes of the plan that read a relation that has rows."""
    ((plan,),) = execute(f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING off) {query}")
    found: list[dict[str, Any]] = []

    def walk(node: dict[str, Any]) -> None:
        if "Relation Name" in node and sizes.get(node["Relation Name"]) != 0:
            found.append(node)
        for child in node.get("Plans", []):
            walk(child)

    sizes = dict(execute("SELECT relname, reltuples FROM pg_class WHERE relname ~ '^changes_'"))
    walk((plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"])
    return found


def read(node: dict[str, Any]) -> int:
    return int(node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)))


def test_one_row_is_looked_up(thing: str) -> None:
    with as_of(thing):
        ((key, n),) = execute("SELECT key, n FROM thing WHERE other = 42 ORDER BY n LIMIT 1")
        assert n == 41
        found = nodes(f"SELECT * FROM thing WHERE key = '{key}'")
    kinds = {node["Node Type"] for node in found}
    assert {node["Relation Name"] for node in found} > {"thing"}
    assert kinds <= {"Index Scan", "Index Only Scan", "Bitmap Heap Scan"}
    assert sum(map(read, found)) < 10


def test_a_join_looks_up_the_keys_of_the_other_side(thing: str) -> None:
    with as_of(thing):
        keys = [key for (key,) in execute("SELECT key::text FROM thing WHERE n IN (41, 542, 9042)")]
        ((kind,),) = execute("SELECT pg_typeof(key)::text FROM thing LIMIT 1")
        join = f"FROM unnest('{{{','.join(keys)}}}'::{kind}[]) wanted (key) JOIN thing USING (key)"
        assert execute(f"SELECT count(*), sum(n % 500) {join}") == [(3, 41 + 42 + 42)]
        found = nodes(f"SELECT n {join}")
    assert sum(map(read, found)) < 30


def test_only_changes_since_the_moment_are_read(thing: str) -> None:
    with as_of(here()):
        assert execute("SELECT count(*), sum(n) FROM thing") == [(20000, 200010000)]
        found = nodes("SELECT sum(n) FROM thing")
    assert sum(read(node) for node in found if node["Relation Name"] != "thing") == 0
