"""Prune the log once a night, beside the worker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, time, timedelta
from typing import Any

from django.db import DatabaseError, connections
from django.utils import timezone

from bemi_django import conf
from bemi_django.exceptions import BemiError
from bemi_django.ingest.error_advice import told
from bemi_django.retention import configured
from bemi_django.retention.clocks import ClockWatch
from bemi_django.retention.periods import time_of_day
from bemi_django.retention.pruning import prune
from bemi_django.schema.search_path import closed_cursor

logger = logging.getLogger(__name__)

# The worker of another database, or a standby, may have done it. Archiving months is another thing.
_IS_DONE = """
SELECT EXISTS (SELECT FROM _bemi.prunings
               WHERE started_at BETWEEN now() - interval '12 hours' AND now()
                   AND ended_at IS NOT NULL AND stopped = '{}'
                   AND who ->> 'command' IS DISTINCT FROM 'bemi archive')
"""
#: Seconds after which a run that another session has stopped is tried again, and how often.
_AGAIN, _TIMES = 600.0, 12


@contextmanager
def pruning_nightly(who: Mapping[str, Any]) -> Iterator[None]:
    """Prune at ``BEMI_PRUNE_AT`` while the block runs, in a thread.

    Args:
        who: Who does it, for the record.

    Raises:
        BemiError: The setting is wrong.
    """
    try:
        at = time_of_day(configured.prune_at())
    except ValueError as error:
        raise BemiError(str(error)) from None
    if at is None:
        yield
        return
    stopping = threading.Event()
    thread = threading.Thread(target=_prune_nightly, args=(at, who, stopping), name="bemi-pruning")
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def seconds_until(at: time, now: datetime) -> float:
    """Return the seconds from ``now`` until a time of day in the same time zone; a day if it is now."""
    # Moments of one zone are compared and subtracted as its clock shows them, which is put forward and back.
    due = now.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0, fold=0)
    while due.timestamp() <= now.timestamp():
        due += timedelta(days=1)
    return due.timestamp() - now.timestamp()


def prune_once(who: Mapping[str, Any], stopping: threading.Event, clock: ClockWatch) -> bool:
    """Prune unless that was done tonight, and log what was done; return whether to try again soon.

    Args:
        who: Who does it, for the record.
        stopping: Set when the run is to end.
        clock: Has watched the clock since the process began.
    """
    alias = conf.destination()
    try:
        clock.require_unset()
        with closed_cursor(alias) as cursor:
            cursor.execute(_IS_DONE)
            if cursor.fetchone() == (True,):
                return False
        found = prune(alias, who, stopping.is_set, may_change_rules=False)
    except (BemiError, DatabaseError) as error:
        logger.warning("the log was not pruned: %s", told(error))
        return False
    except Exception as error:
        # Only the class: the message may contain values of rows. The next night tries again.
        logger.error("the log was not pruned (%s)", type(error).__name__)
        return False
    finally:
        # Those of the thread, also to the sources.
        connections.close_all()
    logger.info("pruned the log: %d changes removed, %d months dropped", found.changes, len(found.months))
    for reason in found.stopped:
        logger.warning("the log was not pruned completely: %s", reason)
    return found.is_held


def _prune_nightly(at: time, who: Mapping[str, Any], stopping: threading.Event) -> None:
    clock = ClockWatch()
    while not stopping.wait(seconds_until(at, datetime.now(timezone.get_default_timezone()))):
        for _ in range(_TIMES):
            if not prune_once(who, stopping, clock) or stopping.wait(_AGAIN):
                break
