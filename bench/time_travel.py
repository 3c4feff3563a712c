"""How long queries of the past take: ``python -m bench.time_travel [rows]``, on a server of its own.

A table of a million rows with a million changes in the log, one of each row, in the order of a shuffled key.
Each line is the median (least to most) of 11 runs of a query as ``as_of()`` runs it, planning included.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import psycopg2

from bemi_django import sql
from sample_project.postgres_server import postgres_server

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
SELECT _bemi_partition_v1('changes', '2026-11-01');
INSERT INTO changes (id, database, schema, "table", primary_key, operation, before, after, context,
                     committed_at, queued_at, transaction_id, position)
SELECT (left(_bemi_bound_v1(position)::text, 19) || '8000-000000000001')::uuid, current_database(), 'public',
       'product', p.id::text, 'UPDATE', to_jsonb(p) || '{{"stock": 4}}', to_jsonb(p), '{{"user_id": 1}}',
       '2026-11-01'::timestamptz + g * interval '1 s', now(), g, position
FROM (SELECT g, g * 800::bigint AS position, (g * 7919::bigint) % {rows} + 1 AS id
      FROM generate_series(1, {rows}) g) row JOIN product p USING (id);
INSERT INTO _bemi_tracking VALUES ('bemi', '{{public.%}}', '{{}}');
CREATE PUBLICATION bemi FOR TABLE category, product;
SELECT _bemi_past_refresh_v1();
"""
ONE = "SELECT * FROM product WHERE id = 4242"
PAGE = """
SELECT p.*, c.name FROM product p JOIN category c ON c.id = p.category_id
WHERE p.category_id = 77 ORDER BY p.id LIMIT 100
"""
SELF = "SELECT a.*, b.sku FROM product a JOIN product b ON b.id = a.id + 1 WHERE a.category_id = 77 LIMIT 100"
ALL = "SELECT count(*), sum(stock) FROM product"
QUERIES = {"one row by key": ONE, "page, join": PAGE, "page, big join": SELF, "all": ALL}
RUNS = 11


def main(rows: int) -> None:
    with postgres_server() as server:
        connection = psycopg2.connect(server.url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            prepare(cursor, rows)
            for since in (0, 10_000, rows):
                say(f"{since:,} changes since, {rows:,} in the log")
                for name, query in QUERIES.items():
                    say(f"  {name:16}{timed(cursor, query, (rows - since) * 800)}")
            say("the present")
            for name, query in QUERIES.items():
                say(f"  {name:16}{timed(cursor, query, None)}")
        connection.close()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def prepare(cursor: Any, rows: int) -> None:
    cursor.execute("DROP SCHEMA IF EXISTS public, _bemi_past_public CASCADE; CREATE SCHEMA public")
    for name in ("capture_v1_up", "changes_v1_up", "past_v1_up"):
        cursor.execute(sql.read(name))
    cursor.execute(SETUP.format(rows=rows))
    cursor.execute("VACUUM ANALYZE")


def timed(cursor: Any, query: str, position: int | None) -> str:
    times = []
    for _ in range(RUNS):
        cursor.execute("BEGIN READ ONLY")
        if position is not None:
            cursor.execute(
                "SELECT set_config('search_path', '_bemi_past_public, public', true), "
                "set_config('jit', 'off', true), set_config('bemi.as_of', _bemi_bound_v1(%s)::text, true), "
                "set_config('bemi.as_of_late', '[]', true), set_config('bemi.as_of_unknown', '{}', true)",
                [position],
            )
        began = time.perf_counter()
        cursor.execute(query)
        cursor.fetchall()
        times.append((time.perf_counter() - began) * 1000)
        cursor.execute("COMMIT")
    return f"{statistics.median(times):8.1f} ms ({min(times):.1f} to {max(times):.1f})"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
