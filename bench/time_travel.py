"""How long queries of the past take, on a table with one change of each row in the log."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

from bemi_django.schema import sql
from bench import measure, servers
from bench.report import Findings, Table, Target
from bench.servers import connect, execute

SETUP = """
CREATE TABLE category (id bigint PRIMARY KEY, name text);
CREATE TABLE product (
    id bigint PRIMARY KEY, sku varchar(50) UNIQUE, category_id bigint NOT NULL REFERENCES category,
    price numeric(12, 2), stock int, made timestamptz);
INSERT INTO category SELECT g, 'category ' || g FROM generate_series(1, 1000) g;
INSERT INTO product
SELECT g, 'sku' || g, 1 + g % 1000, g % 977, 5, '2026-01-01'::timestamptz + g * interval '1 s'
FROM generate_series(1, {rows}) g;
CREATE INDEX ON product (category_id);
SELECT _bemi.partition_v1('2026-11-01');
INSERT INTO changes (id, database, schema, "table", primary_key, operation, before, after, context,
                     committed_at, queued_at, transaction_id, position)
SELECT (left(_bemi.bound_v1(position)::text, 19) || '8000-000000000001')::uuid, current_database(), 'public',
       'product', p.id::text, 'UPDATE', to_jsonb(p) || '{{"stock": 4}}', to_jsonb(p), '{{"user_id": 1}}',
       '2026-11-01'::timestamptz + g * interval '1 s', now(), g, position
FROM (SELECT g, g * 800::bigint AS position, (g * 7919::bigint) % {rows} + 1 AS id
      FROM generate_series(1, {rows}) g) row JOIN product p USING (id);
INSERT INTO _bemi.tracking VALUES ('bemi', '{{public.%}}', '{{}}');
CREATE PUBLICATION bemi FOR TABLE category, product;
SELECT _bemi.past_refresh_v1();
"""
ONE = "SELECT * FROM product WHERE id = 4242"
PAGE = """
SELECT p.*, c.name FROM product p JOIN category c ON c.id = p.category_id
WHERE p.category_id = 77 ORDER BY p.id LIMIT 100
"""
SELF = "SELECT a.*, b.sku FROM product a JOIN product b ON b.id = a.id + 1 WHERE a.category_id = 77 LIMIT 100"
ALL = "SELECT count(*), sum(stock) FROM product"
QUERIES = {
    "one row by its key": ONE,
    "a page of 100 with a join": PAGE,
    "the same with a large table": SELF,
    "all rows, counted": ALL,
}
_SINCE = 10_000
_RUNS = 11
_LOOK = """
SELECT set_config('search_path', '_bemi_past_public, public', true), set_config('jit', 'off', true),
       set_config('bemi.as_of', _bemi.bound_v1(%s)::text, true), set_config('bemi.as_of_late', '[]', true),
       set_config('bemi.as_of_unknown', '{}', true)
"""


def run(is_quick: bool, is_long: bool = False) -> Findings:
    rows = 50_000 if is_quick else 1_000_000
    findings = Findings("Time travel")
    moments = {"the present": None, f"{_SINCE:,} changes since": _SINCE, f"{rows:,} changes since": rows}
    with servers.server() as server, closing(connect(server)) as connection:
        _prepare(connection, rows)
        found = {
            when: {name: _timed(connection, query, rows, since) for name, query in QUERIES.items()}
            for when, since in moments.items()
        }
    table = Table(
        f"Milliseconds, planning included: {rows:,} rows, {rows:,} changes in the log", ["query", *moments]
    )
    for name in QUERIES:
        table.add(name, *(found[when][name].show(1) for when in moments))
    findings.tables.append(table)
    last, near = found[f"{rows:,} changes since"], found[f"{_SINCE:,} changes since"]
    for claim, spread, most in (
        (f"one row by its key with {rows:,} changes since", last["one row by its key"], 20),
        (f"a page with a join, {_SINCE:,} changes since", near["a page of 100 with a join"], 300),
    ):
        findings.targets.append(
            Target(f"{claim}: under {most} ms", f"{spread.median:.1f} ms", spread.median < most)
        )
    findings.unfair.append("Each row has changed once, and the pages are in memory.")
    return findings


def _prepare(connection: Any, rows: int) -> None:
    execute(
        connection,
        sql.up(
            *sql.SOURCE,
            "histories_v1",
            "changes_v1",
            "activity_v1",
            "past_v1",
            "past_queries_v1",
            "past_views_v1",
        ),
    )
    execute(connection, SETUP.format(rows=rows))
    execute(connection, "VACUUM ANALYZE")


def _timed(connection: Any, query: str, rows: int, since: int | None) -> measure.Spread:
    """Run the query as ``as_of()`` does; *since* is the number of changes since, None for the present."""
    times = []
    for _ in range(_RUNS):
        execute(connection, "BEGIN READ ONLY")
        if since is not None:
            execute(connection, _LOOK, [(rows - since) * 800])
        began = time.perf_counter()
        execute(connection, query)
        times.append((time.perf_counter() - began) * 1000)
        execute(connection, "COMMIT")
    return measure.spread(times)
