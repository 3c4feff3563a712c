"""The replication slot: where the server keeps our place in the WAL."""

from __future__ import annotations

from typing import Any

import psycopg2

from bemi_django.exceptions import ReplicationError


def ensure(connection: Any, name: str) -> bool:
    """Create the slot when it is missing and tell whether it was.

    ``connection`` is in autocommit. Raises ReplicationError when the server cannot have one.
    """
    with connection.cursor() as cursor:
        cursor.execute("SHOW wal_level")
        (level,) = cursor.fetchone()
        if level != "logical":
            raise ReplicationError(
                f"wal_level is {level}: run ALTER SYSTEM SET wal_level = logical and restart the server"
            )
        cursor.execute("SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", [name])
        if cursor.fetchone()[0]:
            return False
        try:
            cursor.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [name])
        except psycopg2.Error as error:
            raise ReplicationError(f"cannot create the slot {name}: {str(error).strip()}") from error
        return True
