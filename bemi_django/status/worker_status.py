"""The worker of a database, seen from its replication slot and its checkpoint."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from typing import NamedTuple

from bemi_django import conf
from bemi_django.exceptions import NotInstalled
from bemi_django.schema import installed
from bemi_django.schema.replication.slots import slot_of
from bemi_django.schema.search_path import closed_cursor
from bemi_django.status.configured import wal_disk

#: States of a worker.
RUNNING, NOT_RUNNING, NEVER_RUN, SLOT_GONE = "running", "not running", "never run", "slot gone"
#: The server is a standby, so a worker may only be at its primary.
ON_STANDBY = "on a standby"
#: A lag in seconds that calls for attention, and one with which something is wrong.
LATE, TOO_LATE = 30.0, 300.0

#: The time there, and whether the server is a standby; and of another one, whether the slot is in use, its
#: state, the bytes of WAL that are not confirmed and that are retained, the bytes until the server removes
#: WAL, the average bytes of WAL a day, and how long WAL has waited that was there at the last checkpoint. An
#: idle worker leaves less than so much of it unconfirmed.
_SLOT = """
SELECT extract(epoch FROM clock_timestamp())::float8, pg_is_in_recovery(), slot.*
FROM (SELECT) one LEFT JOIN (
    SELECT s.active, s.wal_status, greatest(pg_current_wal_lsn() - s.confirmed_flush_lsn, 0)::bigint,
           greatest(pg_current_wal_lsn() - s.restart_lsn, 0)::bigint, s.safe_wal_size,
           s.confirmed_flush_lsn - '0/0',
           (w.wal_bytes / greatest(extract(epoch FROM clock_timestamp() - w.stats_reset), 60) * 86400)::int8,
           CASE WHEN c.redo_lsn - s.confirmed_flush_lsn > 1024 * 1024
                THEN greatest(extract(epoch FROM clock_timestamp() - c.checkpoint_time)::float8, 0) ELSE 0 END
    FROM pg_replication_slots s CROSS JOIN pg_stat_wal w CROSS JOIN pg_control_checkpoint() c
    WHERE s.slot_name = %s AND NOT pg_is_in_recovery()
) slot ON true
"""
# Ages are asked of the server: without USE_TZ, a datetime of Django has no time zone. But changes are
# committed by the clock of the source.
_CHECKPOINT = """
SELECT extract(epoch FROM clock_timestamp())::float8,
       extract(epoch FROM clock_timestamp() - committed_at)::float8,
       extract(epoch FROM clock_timestamp() - updated_at)::float8,
       system_identifier, coalesce(trouble, ''), counters::text, lsn - '0/0'
FROM _bemi.checkpoint WHERE slot = %s
"""
# A large transaction moves the checkpoint at its end only, and has claimed it by a lock; others that write to
# the log do not. Locks are shown to every role, and what sessions do to those who may know it. The state of a
# session that waits does not change.
_IS_WRITTEN = """
SELECT EXISTS (
    SELECT FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid AND a.datid = l.database
    JOIN pg_locks k ON k.pid = l.pid AND k.database = l.database AND k.locktype = 'relation'
        AND k.relation = '_bemi.checkpoint'::regclass AND k.mode = 'RowExclusiveLock' AND k.granted
    WHERE l.locktype = 'relation' AND l.relation = _bemi.log_v1()
        AND l.mode = 'RowExclusiveLock' AND l.granted AND a.datname = current_database()
        AND a.state_change > clock_timestamp() - %s * interval '1 s')
"""
_MAY_READ = "SELECT has_table_privilege(%s, 'SELECT')"
# Checks and pages that only want the state of the worker must not wait for whoever has locked the log.
_BRIEFLY = "SELECT set_config('lock_timeout', '3s', true)"
_NEWEST = """
SELECT extract(epoch FROM clock_timestamp() - committed_at)::float8,
       extract(epoch FROM created_at - committed_at)::float8
FROM {} ORDER BY id DESC LIMIT 1
"""


class SourceClock(NamedTuple):
    """What time it was by the clock of the source, in seconds since 1970, and by ``time.monotonic()``."""

    seconds: float
    read_at: float

    def lead_of(self, seconds: float) -> float:
        """Return by how many seconds a clock is ahead that shows this time now."""
        return seconds - (self.seconds + time.monotonic() - self.read_at)


class LogEnd(NamedTuple):
    """The checkpoint of a slot.

    Attributes:
        change_age: Seconds since the last recorded change was committed.
        age: Seconds since the checkpoint moved.
        system_identifier: The server's identifier.
        trouble: Why the worker does not get on, or an empty string.
        counters: What the worker has counted since it was started.
        position: Its LSN in bytes.
        clock_lead: Seconds by which the clock of the log is ahead of that of the source.
        is_being_written: Whether a worker writes to the log, in a transaction that has not ended.
    """

    change_age: float
    age: float
    system_identifier: str
    trouble: str
    counters: Mapping[str, int]
    position: int = 0
    clock_lead: float = 0.0
    is_being_written: bool = False


class WorkerStatus(NamedTuple):
    """The worker of a database.

    Attributes:
        slot: Name of its slot.
        state: :data:`RUNNING` or :data:`NOT_RUNNING`; without a slot :data:`NEVER_RUN`, or :data:`SLOT_GONE`
            if the log knows one; :data:`ON_STANDBY` of a standby.
        log_end: The checkpoint; None before recording has begun.
        wal_status: The state of the WAL that the slot needs, as ``pg_replication_slots`` has it.
        lag_bytes: Bytes of WAL that are not in the log yet.
        lag_seconds: How long the log may have lacked something; for a running worker, its last lag, which is
            NaN for a role that may not read the log, or how long WAL has waited, if that is longer.
        retained_bytes: Bytes of WAL that the server keeps for the slot.
        room_bytes: Bytes of WAL that may be written until the server removes WAL that the slot needs; None
            without ``max_slot_wal_keep_size``.
        disk_bytes: Bytes of WAL that may be written until it takes all of ``BEMI_WAL_DISK``; None without it.
        bytes_a_day: Bytes of WAL a day, on average.
        queued_bytes: Bytes of WAL whose changes are in a queue, and not in the log yet.
        waited_seconds: How long, at least, WAL has waited that is not in the log; 0 for little WAL.
    """

    slot: str
    state: str
    log_end: LogEnd | None = None
    wal_status: str = ""
    lag_bytes: int = 0
    lag_seconds: float = 0.0
    retained_bytes: int = 0
    room_bytes: int | None = None
    bytes_a_day: int = 0
    queued_bytes: int = 0
    disk_bytes: int | None = None
    waited_seconds: float = 0.0

    @property
    def is_held_up(self) -> bool:
        """Whether the worker runs and nothing arrives in the log, though the server has something for it."""
        end = self.log_end
        is_still = end is not None and end.age >= TOO_LATE and not end.is_being_written
        return self.state == RUNNING and is_still and self.waited_seconds >= LATE

    @property
    def has_begun(self) -> bool:
        """Whether recording has begun: there is a slot, or there was one."""
        return self.state != NEVER_RUN


def read_worker(alias: str) -> WorkerStatus:
    """Return the status of the worker of a database.

    Args:
        alias: Alias of the source.
    """
    slot = slot_of(alias)
    with closed_cursor(alias) as cursor:
        cursor.execute(_SLOT, [slot])
        now, is_standby, is_active, wal_status, *amounts, waited = cursor.fetchone()
        lag_bytes, retained, room, confirmed, bytes_a_day = amounts
    log_end = _log_end(slot, SourceClock(now, time.monotonic()))
    if is_standby:
        return WorkerStatus(slot, ON_STANDBY, log_end)
    if is_active is None:
        return WorkerStatus(slot, NEVER_RUN if log_end is None else SLOT_GONE, log_end)
    disk = wal_disk()
    # Without a queue, nothing is confirmed that the log does not have.
    queued = int(confirmed or 0) - log_end.position if log_end is not None else 0
    return WorkerStatus(
        slot,
        RUNNING if is_active else NOT_RUNNING,
        log_end,
        wal_status,
        lag_bytes,
        lag_seconds(log_end, lag_bytes, is_running=is_active, waited=waited),
        retained,
        room,
        bytes_a_day,
        max(queued, 0),
        None if disk is None else max(disk - retained, 0),
        waited,
    )


def lag_seconds(log_end: LogEnd | None, lag_bytes: int, *, is_running: bool, waited: float = 0.0) -> float:
    """Return how long the log may have lacked something, in seconds; at least as long as WAL has waited."""
    if not lag_bytes:
        return 0.0
    if log_end is None or is_running:
        latest = _latest_lag(0.0 if log_end is None else log_end.clock_lead) if is_running else 0.0
        # Not known is less than any time.
        return max(waited, latest) if waited else latest
    return max(log_end.age, 0.0)


def _latest_lag(clock_lead: float) -> float:
    alias = conf.destination()
    try:
        log = installed.log(alias)
    except NotInstalled:
        return 0.0
    with closed_cursor(alias) as cursor:
        cursor.execute(_MAY_READ, [log])
        if cursor.fetchone() == (False,):
            return math.nan
        cursor.execute(_BRIEFLY)
        cursor.execute(_NEWEST.format(log))
        newest = cursor.fetchone()
    if newest is None:
        return 0.0
    age, lag = (seconds - clock_lead for seconds in newest)
    return max(lag, 0.0) if age < TOO_LATE else 0.0


def _log_end(slot: str, clock: SourceClock) -> LogEnd | None:
    alias = conf.destination()
    with closed_cursor(alias) as cursor:
        if not installed.has(cursor, "partition_v1"):
            return None
        cursor.execute(_CHECKPOINT, [slot])
        found = cursor.fetchone()
        if found is None:
            return None
        cursor.execute(_IS_WRITTEN, [TOO_LATE])
        (is_written,) = cursor.fetchone()
    now, change_age, age, system_identifier, trouble, counters, position = found
    lead = clock.lead_of(now)
    counted = json.loads(counters)
    since = max(change_age - lead, 0.0)
    return LogEnd(since, age, system_identifier, trouble, counted, int(position), lead, is_written)
