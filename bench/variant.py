"""One variant in a process of its own: reads orders from standard input and answers what they took.

Each is a line of JSON: an order ``[workload, synchronous_commit]``, an answer ``[seconds, bytes of WAL,
processor seconds]``.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import RequestFactory
from django.utils.module_loading import import_string

from bench.workloads import WORKLOADS, Engine, user

_FILL = """
SET session_replication_role = replica;
TRUNCATE shop_item RESTART IDENTITY CASCADE;
INSERT INTO shop_item (owner_id, title, body, is_done, price, created_at)
SELECT i % 1000, 'Item number ' || i, repeat('some words ', 8), false, i / 100.0, '2026-01-01 10:00+00'
FROM generate_series(1, 5000) i;
SET session_replication_role = origin;
"""
_SERVING = """
SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'
"""
Answer = tuple[float, float, float]
_RECORDS = {"shop_itemevent", "pghistory_context", "auditlog_logentry", "shop_historicalitem"}


def fill() -> None:
    """Make the rows of the shop anew, unrecorded, and empty the tables of the records."""
    with connection.cursor() as cursor:
        for table in set(connection.introspection.table_names(cursor)) & _RECORDS:
            cursor.execute(f"TRUNCATE {table} CASCADE")
        cursor.execute(_FILL)


def measured(run: Callable[[], object]) -> Answer:
    gc.collect()
    wal, cpu, began = _wal(), _cpu(), time.perf_counter()
    run()
    ended = time.perf_counter()
    return ended - began, _wal() - wal, _cpu() - cpu


def answer(workload: str, synchronous_commit: str) -> Answer:
    fill()
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('synchronous_commit', %s, false)", [synchronous_commit])
    Engine.synchronous_commit = synchronous_commit
    run = WORKLOADS[workload].prepare()
    if workload.startswith("request") or not settings.RECORDER:
        return measured(run)
    # In a request, from which each package takes its context.
    found: list[Answer] = []
    middleware = import_string(settings.RECORDER)(lambda request: found.append(measured(run)) or _response())
    request = RequestFactory().post("/items/")
    request.user = user()
    middleware(request)
    return found[0]


def _response() -> Any:
    from django.http import HttpResponse

    return HttpResponse("")


def _wal() -> float:
    with connection.cursor() as cursor:
        cursor.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::float8")
        return float(cursor.fetchone()[0])


def _cpu() -> float:
    """Return the processor time of this process and of those that serve it.

    Unlike time, it changes little on a busy machine.
    """
    with connection.cursor() as cursor:
        cursor.execute(_SERVING)
        processes = [os.getpid(), *(pid for (pid,) in cursor.fetchall())]
    threads = [thread for pid in processes for thread in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def prepare() -> None:
    """Create the tables, and what the variant puts on them."""
    # First the tables that those of the shop refer to.
    call_command("migrate", verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0)
    if settings.VARIANT == "django-pghistory":
        call_command("pgtrigger", "install", verbosity=0)
    # bemi-django leaves it to the user; without it there is no row before the change.
    if settings.VARIANT in ("REPLICA IDENTITY FULL", "bemi-django"):
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE shop_item REPLICA IDENTITY FULL")
    connection.close()


def main() -> None:
    django.setup()
    # Only answers may go to standard output.
    out, sys.stdout = sys.stdout, sys.stderr
    prepare()
    out.write("ready\n")
    out.flush()
    for line in sys.stdin:
        out.write(json.dumps(answer(*json.loads(line))) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
