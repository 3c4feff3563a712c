"""States of a server that a test needs and puts back: no standby, no event triggers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from bemi_django.schema import tracking
from tests.support import roles
from tests.support.project_database import execute, wait_until


@contextmanager
def no_standby() -> Iterator[None]:
    """Name a synchronous standby that is not there: sessions that ask for one wait at their commit."""
    database = connection.settings_dict["NAME"]
    execute("SET synchronous_commit = local")
    execute(f"ALTER DATABASE {database} SET synchronous_commit = local")
    execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    execute("SELECT pg_reload_conf()")
    wait_until("SELECT current_setting('synchronous_standby_names') = 'nobody'")
    # The checkpointer passes the setting on to the other processes.
    execute("CHECKPOINT")
    try:
        yield
    finally:
        execute("ALTER SYSTEM RESET synchronous_standby_names")
        execute("SELECT pg_reload_conf()")
        wait_until("SELECT current_setting('synchronous_standby_names') = ''")
        execute("CHECKPOINT")
        execute(f"ALTER DATABASE {database} RESET synchronous_commit")
        execute("RESET synchronous_commit")


@contextmanager
def no_event_triggers() -> Iterator[None]:
    """Make a database without event triggers, as where nobody is a superuser."""
    with roles.administrator(str(connection.settings_dict["NAME"])) as cursor:
        cursor.execute("DROP EVENT TRIGGER _bemi_follow_ddl")
        cursor.execute("DROP EVENT TRIGGER _bemi_follow_drop")
    if roles.are_in_use():
        yield
        roles.grant("default")
        tracking.sync()
        return
    execute("CREATE ROLE bemi_migrator")
    # It may use the objects of a superuser and is none itself.
    execute("DO $$BEGIN EXECUTE format('GRANT %I TO bemi_migrator', current_user); END$$")
    try:
        yield
    finally:
        # Its objects have to belong to somebody before it is dropped.
        execute("DO $$BEGIN EXECUTE format('REASSIGN OWNED BY bemi_migrator TO %I', current_user); END$$")
        execute("DROP ROLE bemi_migrator")
        tracking.sync()


@contextmanager
def as_migrator() -> Iterator[None]:
    """Be a role that may not make event triggers."""
    if not roles.are_in_use():
        execute("SET ROLE bemi_migrator")
    try:
        yield
    finally:
        execute("RESET ROLE")


def sync_as_migrator() -> None:
    """Run ``sync`` as a role that may not make event triggers."""
    with as_migrator():
        outcome = tracking.sync()
    assert outcome.failed == []
    assert not any("event trigger" in line for line in outcome.done)
