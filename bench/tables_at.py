"""What a database with many tables costs, in a process of its own; prints {what: milliseconds} as JSON."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import django
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connection

CREATE = "CREATE TABLE bench_new (id bigserial PRIMARY KEY, name text)"
ALTER = "ALTER TABLE bench_new ADD COLUMN note text"
DROP = "DROP TABLE bench_new"


def milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def ddl(is_followed: bool) -> dict[str, float]:
    """Return the median of 10 for each statement, with or without what the event triggers do."""
    found: dict[str, list[float]] = {CREATE: [], ALTER: [], DROP: []}
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('_bemi.is_following', %s, false)", ["" if is_followed else "yes"])
        for _ in range(12):
            for statement, numbers in found.items():
                numbers.append(milliseconds(lambda statement=statement: cursor.execute(statement)))
    return {statement: statistics.median(numbers[2:]) for statement, numbers in found.items()}


def main() -> None:
    django.setup()
    from bemi_django.apps import _track_new_tables
    from bemi_django.schema import tracking

    found = {"first migrate": milliseconds(lambda: call_command("migrate", verbosity=0))}
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    works: dict[str, Callable[[], object]] = {
        "sync with nothing to do": tracking.sync,
        "post_migrate with nothing to do": lambda: _track_new_tables("default"),
        "check --database": lambda: run_checks(tags=["database"], databases=["default"]),
    }
    for name, work in works.items():
        work()
        found[name] = statistics.median(milliseconds(work) for _ in range(5))
    followed, plain = ddl(True), ddl(False)
    for statement in followed:
        found[f"event triggers at {' '.join(statement.split()[:2])}"] = followed[statement] - plain[statement]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
