"""``python -m sample_project.store.season``: fill the shop of ``DATABASE_URL`` while a worker records it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import datetime, timezone
from typing import Any

import django

WAIT_SECONDS = 60
_IS_READING = "EXISTS (SELECT FROM pg_replication_slots WHERE active AND database = current_database())"
_HAS_ENDED = "EXISTS (SELECT FROM changes WHERE operation = 'EVENT' AND context @> '{context}')"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sample_project.store.season", description=__doc__)
    parser.add_argument("--days", type=int, default=60, help="how many days (default: 60)")
    parser.add_argument("--scale", type=float, default=1, help="how busy the days are (default: 1)")
    parser.add_argument("--seed", type=int, default=1, help="of what is random (default: 1)")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sample_project.store.settings")
    django.setup()

    from django.db import connection

    from bemi_django.wire import EVENT_KEY
    from sample_project.store.season.backdating import backdate
    from sample_project.store.season.season import CLOSED, Season

    season = Season(_midnight(), options.days, options.scale, options.seed)
    with connection.cursor() as cursor:
        _wait_until(cursor, _IS_READING)
    for day in season.play():
        _say(f"day {day} of {options.days}")
    with connection.cursor() as cursor:
        _wait_until(cursor, _HAS_ENDED.format(context=json.dumps({EVENT_KEY: CLOSED})))
        _say(f"{backdate(cursor, season.clock):,} changes in {options.days} days")
    return 0


def _midnight() -> datetime:
    return datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _wait_until(cursor: Any, is_true: str) -> None:
    """Wait for the worker to do something."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        cursor.execute(f"SELECT {is_true}")
        if cursor.fetchone() == (True,):
            return
        if time.monotonic() > deadline:
            sys.exit("nothing is recorded: start the worker with manage.py bemi run")
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
