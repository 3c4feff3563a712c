"""A log of millions of changes, written in minutes: transactions of one to six changes, some of thousands."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from django.db import connection

#: Changes of a transaction on average, and days that the log is about.
_AVERAGE, _DAYS = 3.5, 180
_PART = """
CREATE TABLE public.{name} (LIKE changes INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
"""
# Every 40,000th transaction has 20,000 changes; every 9th record is of a session; every 97th transaction is
# from outside, and 25 of 400 users make half of all changes.
_ROWS = """
INSERT INTO public.{name} (id, database, schema, "table", primary_key, operation, before, after, context, committed_at,
                           queued_at, transaction_id, position)
SELECT (lpad(to_hex((t >> 12) << 16 | 32768 | (t & 4095)), 16, '0')
        || '8' || lpad(to_hex(n::bigint << 30 | 1), 15, '0'))::uuid,
       current_database(), 'public', k.name, key::text, k.operation,
       CASE WHEN k.operation = 'CREATE' THEN '{{}}' ELSE jsonb_build_object('id', key, 'task', 'old ' || t, 'is_completed', false) END,
       CASE WHEN k.operation = 'DELETE' THEN '{{}}' ELSE jsonb_build_object('id', key, 'task', 'new ' || t, 'is_completed', true) END,
       CASE WHEN t %% 97 = 0 THEN jsonb_build_object('db_user', 'dba', 'application_name', 'psql', 'SQL', s.sql)
            WHEN t %% 23 = 0 THEN jsonb_build_object('task', 'job ' || t %% 7, 'task_id', 't' || t, 'SQL', s.sql)
            ELSE jsonb_build_object('user_id', CASE WHEN t %% 2 = 0 THEN t %% 25 ELSE t * 7919 %% 400 END,
                                    'endpoint', '/page/' || t * 31 %% 60 || '/' || key || '/', 'method', 'POST',
                                    'request_id', 'r' || t / 2, 'SQL', s.sql) END,
       m.moment, m.moment, t, t * 8
FROM generate_series(%(first)s::bigint, %(last)s::bigint) t
CROSS JOIN LATERAL (SELECT %(begin)s::timestamptz + (t - %(first)s) * %(step)s::interval) m (moment)
CROSS JOIN LATERAL generate_series(0, CASE WHEN t %% 40000 = 0 THEN 19999 ELSE t %% 6 END) n
CROSS JOIN LATERAL (SELECT t * 7 + n * 13) o (number)
CROSS JOIN LATERAL (SELECT o.number %% 200000) i (key)
CROSS JOIN LATERAL (SELECT (ARRAY['todo', 'todo', 'todo', 'todo', 'tag', 'tag', 'auth_user', 'ledger', 'django_session'])[1 + o.number %% 9],
                           (ARRAY['CREATE', 'UPDATE', 'UPDATE', 'UPDATE', 'UPDATE', 'DELETE'])[1 + o.number %% 6]) k (name, operation)
CROSS JOIN LATERAL (SELECT 'UPDATE "todo" SET "task" = ''new'', "is_completed" = true WHERE "todo"."id" = ' || key) s (sql)
"""  # noqa: E501


def fill(changes: int) -> int:
    """Write about so many changes, up to now, in the months of half a year; return their number."""
    now = datetime.now(timezone.utc)
    begin = now - timedelta(days=_DAYS)
    # The large transactions are a seventh of all.
    step = timedelta(days=_DAYS) / (changes / (_AVERAGE + 0.5))
    first = 8
    with connection.cursor() as cursor:
        cursor.execute("SET maintenance_work_mem = '512MB'")
        while begin < now:
            end = min(_next_month(begin), now)
            last = first + int((end - begin) / step) - 1
            _fill_part(cursor, begin, {"first": first, "last": last, "begin": begin, "step": step})
            begin, first = end, last + 1
        cursor.execute("ANALYZE changes")
        cursor.execute("RESET maintenance_work_mem")
        cursor.execute("SELECT count(*) FROM changes")
        return int(cursor.fetchone()[0])


def _fill_part(cursor: Any, begin: datetime, given: dict[str, Any]) -> None:
    # Indexes are made when it becomes a part of the log, at a fifth of the cost.
    name = f"changes_{begin:%Y_%m}"
    cursor.execute(f"DROP TABLE IF EXISTS public.{name}")
    cursor.execute(_PART.format(name=name))
    cursor.execute(_ROWS.format(name=name), given)
    month = begin.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    cursor.execute(
        f"ALTER TABLE changes ATTACH PARTITION public.{name} FOR VALUES FROM (%s) TO (%s)",
        [month, _next_month(month)],
    )


def _next_month(moment: datetime) -> datetime:
    return (moment.replace(day=1) + timedelta(days=32)).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
