"""Find, create and drop the replication slot (PostgreSQL docs, 49.2)."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any, NamedTuple

import psycopg2
import psycopg2.errors

from bemi_django.exceptions import IsStandby, ReplicationError, SlotInUse
from bemi_django.wire.lsn import parse_lsn

logger = logging.getLogger(__name__)

_FIND = """
SELECT database, database = current_database(), plugin,
       confirmed_flush_lsn - '0/0', wal_status = 'lost', active_pid,
       -- The column came with PostgreSQL 17.
       (to_jsonb(_bemi_slot.*) ->> 'failover')::boolean
FROM pg_replication_slots _bemi_slot WHERE slot_name = %s
"""
_OPEN_TRANSACTIONS = """
SELECT pid, application_name, xact_start FROM pg_stat_activity
WHERE backend_xid IS NOT NULL AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
ORDER BY xact_start LIMIT 3
"""
_CREATE = "SELECT lsn::text FROM pg_create_logical_replication_slot(%s, 'pgoutput'{options})"
_FAILOVER_VERSION = 170000


class Slot(NamedTuple):
    """The server has forgotten the WAL up to ``confirmed``, and more of it if ``is_lost``.

    ``is_failover`` tells whether standbys synchronise it; None before PostgreSQL 17, where they cannot.
    """

    confirmed: int
    is_lost: bool
    is_failover: bool | None = None


def require_primary(connection: Any) -> None:
    """Check that the server is not a standby.

    Raises:
        IsStandby: It is one.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery()")
        (is_standby,) = cursor.fetchone()
    if is_standby:
        raise IsStandby


def require_logical(connection: Any) -> None:
    """Check that the server writes logical WAL.

    Raises:
        ReplicationError: It does not.
    """
    with connection.cursor() as cursor:
        cursor.execute("SHOW wal_level")
        (level,) = cursor.fetchone()
    if level != "logical":
        raise ReplicationError(
            f"wal_level is {level}: run ALTER SYSTEM SET wal_level = logical and restart the server"
        )


def find(connection: Any, name: str) -> Slot | None:
    """Return the slot of this name, or None.

    Raises:
        SlotInUse: Somebody reads it.
        ReplicationError: The name belongs to another database or plugin.
    """
    with connection.cursor() as cursor:
        cursor.execute(_FIND, [name])
        found = cursor.fetchone()
    if found is None:
        return None
    database, is_here, plugin, confirmed, is_lost, active_pid, is_failover = found
    if not is_here or plugin != "pgoutput":
        owner = f"database {database}" if database else "physical replication"
        raise ReplicationError(
            f"the slot {name} belongs to {owner}{f' (plugin {plugin})' if is_here else ''}: "
            "choose another name with BEMI_SLOT"
        )
    if active_pid is not None:
        raise SlotInUse(f"the slot {name} is in use by process {active_pid} of the server")
    return Slot(int(confirmed or 0), bool(is_lost), is_failover)


def is_there(connection: Any, name: str) -> bool:
    """Return whether there is a slot of this name, of whatever kind."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_replication_slots WHERE slot_name = %s", [name])
        return cursor.fetchone() is not None


def is_served_by(connection: Any, name: str, process: int) -> bool:
    """Return whether this process of the server works on the slot."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", [name])
        return bool(cursor.fetchone() == (process,))


def create(connection: Any, name: str, *, failover: bool) -> Slot:
    """Create the slot; this waits for running transactions to end.

    Args:
        connection: A connection to the source, in autocommit.
        name: The name of the slot.
        failover: Whether standbys synchronise the slot, from PostgreSQL 17 on.

    Raises:
        SlotInUse: Another worker has created it.
        ReplicationError: The server cannot.
    """
    logger.info("creating the slot %s: this waits for running transactions to end", name)
    with connection.cursor() as cursor:
        # The server gives the slot up if the worker vanishes in the meantime. Not every platform can.
        with suppress(psycopg2.Error):
            cursor.execute("SET client_connection_check_interval = '10s'")
        try:
            cursor.execute(_CREATE.format(options=_options(connection, failover)), [name])
        except psycopg2.errors.DuplicateObject as error:
            # Another worker was first.
            raise SlotInUse(error.diag.message_primary) from error
        except psycopg2.errors.QueryCanceled as error:
            open_transactions = _open_transactions(cursor)
            if not open_transactions:
                raise
            raise ReplicationError(
                f"cannot create the slot {name} while these transactions are open: {open_transactions}. "
                "End them, or run without --until-current, which waits for them"
            ) from error
        except psycopg2.errors.ConfigurationLimitExceeded as error:
            reason = (
                f"{error.diag.message_primary}: drop one that nobody reads, or raise max_replication_slots"
            )
            raise ReplicationError(f"cannot create the slot {name}: {reason}") from error
        except psycopg2.ProgrammingError as error:
            reason = error.diag.message_primary
            raise ReplicationError(f"cannot create the slot {name}: {reason}") from error
        return Slot(parse_lsn(cursor.fetchone()[0]), False)


def _open_transactions(cursor: Any) -> str:
    cursor.execute(_OPEN_TRANSACTIONS)
    return ", ".join(
        f"process {process} ({application or 'no name'}, since {since:%Y-%m-%d %H:%M:%S%z})"
        for process, application, since in cursor.fetchall()
    )


def advance(connection: Any, name: str) -> Slot:
    """Move the slot to the end of the WAL, past what it cannot send.

    Args:
        connection: A connection to the source, in autocommit.
        name: The name of the slot, which nobody reads.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT end_lsn::text FROM pg_replication_slot_advance(%s, pg_current_wal_flush_lsn())", [name]
        )
        return Slot(parse_lsn(cursor.fetchone()[0]), False)


def drop(connection: Any, name: str) -> None:
    """Drop the slot, and with it its position."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_drop_replication_slot(%s)", [name])


def _options(connection: Any, failover: bool) -> str:
    is_possible = failover and connection.server_version >= _FAILOVER_VERSION
    return ", failover => true" if is_possible else ""
