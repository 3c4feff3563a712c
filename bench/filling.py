"""Fill a log of any size without a worker: the server generates the rows of ``changes``."""

from __future__ import annotations

from typing import Any

from bench.servers import execute

_FILL = """
INSERT INTO changes
    (id, database, schema, "table", primary_key, operation, before, after, context, committed_at, queued_at,
     transaction_id, position)
SELECT (lpad(to_hex(i >> 12), 12, '0') || '8' || lpad(to_hex(i & 4095), 3, '0') || '8000000000000000')::uuid,
       'source', 'public', 'item', (hashint8(i) & 2147483647) %% greatest(%(last)s / 10, 1), 'UPDATE',
       item || '{"is_done": false}', item || '{"is_done": true}',
       jsonb_build_object('user_id', i %% 1000, 'method', 'POST', 'path', '/items/' || i / 3,
                          'request_id', md5((i / 3)::text), 'SQL',
                          'UPDATE "item" SET "is_done" = %%s, "price" = %%s WHERE "item"."id" = %%s'),
       date_trunc('month', now()) + (i * 1.0 / %(last)s) * (now() - date_trunc('month', now())), now(), i, i
FROM generate_series(%(first)s::bigint, %(last)s) i
CROSS JOIN LATERAL jsonb_build_object(
    'id', i, 'owner_id', i %% 1000, 'title', 'Item number ' || i, 'body', repeat('some words ', 8),
    'price', i / 100.0, 'created_at', '2026-01-01T10:00:00+00:00') item
"""


def fill(connection: Any, first: int, last: int) -> None:
    """Add the changes numbered from *first* to *last*: ten per object, three per request."""
    execute(connection, "SET synchronous_commit = off")
    execute(connection, "SELECT _bemi.partition_v1(now())")
    execute(connection, _FILL, {"first": first, "last": last})
    execute(connection, "VACUUM ANALYZE changes")
    # Writing ten gigabytes to the disk would slow down what is measured next.
    execute(connection, "CHECKPOINT")
