"""The replication slot of a source: the log keeps its name, whatever is renamed later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from bemi_django import conf
from bemi_django.schema.search_path import closed_cursor
from bemi_django.wire.slot_name import slot_name

_IDENTITY = """
SELECT d.datname::text, s.system_identifier::text, d.oid::bigint
FROM pg_database d CROSS JOIN pg_control_system() s WHERE d.datname = current_database()
"""
# Asked of the catalog, because a name in a schema that is not there, or is closed, is an error.
_MAY_READ = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = '_bemi' AND c.relname = 'checkpoint' AND has_schema_privilege(n.oid, 'USAGE')
    AND has_table_privilege(c.oid, 'SELECT')
"""
_CHECKPOINTS = """
SELECT slot, system_identifier, database::bigint, is_local FROM _bemi.checkpoint
WHERE sink = '' ORDER BY updated_at DESC
"""
_PRESENT = """
SELECT slot_name::text FROM pg_replication_slots
WHERE database = current_database() AND plugin = 'pgoutput' AND slot_name::text = ANY (%s)
"""
_OF_ANOTHER = """
SELECT count(*) FROM pg_replication_slots
WHERE slot_name = %s AND database IS DISTINCT FROM current_database()
"""


class DatabaseIdentity(NamedTuple):
    """A database: its name, which may change, its server and its oid, which do not."""

    name: str
    system_identifier: str
    oid: int


class KnownSlot(NamedTuple):
    """A slot that a log knows, and the database whose changes it sends.

    ``is_local`` tells whether the log was in that database.
    """

    name: str
    system_identifier: str
    database: int
    is_local: bool


def slot_of(alias: str) -> str:
    """Return the name of the replication slot of a source, whether there is one or not.

    Args:
        alias: The alias of the source.

    Raises:
        DatabaseError: The source or the database of the log cannot be reached.
    """
    with closed_cursor(alias) as source, closed_cursor(conf.destination()) as log:
        return find_name(source, log, alias)


def identity_of(alias: str) -> DatabaseIdentity:
    """Return what tells a database from all others.

    Args:
        alias: Its alias.

    Raises:
        DatabaseError: It cannot be reached.
    """
    with closed_cursor(alias) as cursor:
        return _identity(cursor)


def find_name(source: Any, log: Any, alias: str) -> str:
    """Do the same with cursors of any driver, whose search path is closed.

    Args:
        source: A cursor of the source.
        log: A cursor of the database of the log.
        alias: The alias of the source.

    Returns:
        The name in the checkpoint; if there is none, ``BEMI_SLOT`` or a name made of the database's.
    """
    here = _identity(source)
    wanted = conf.slot(alias) or slot_name(here.name, alias)
    log.execute(_MAY_READ)
    if log.fetchone() == (0,):
        return wanted
    log.execute(_CHECKPOINTS)
    known = [KnownSlot(*row) for row in log.fetchall()]
    if (kept := kept_name(known, here, wanted)) is not None:
        return kept
    if (moved := moved_name(known, here, _identity(log))) is not None:
        source.execute(_OF_ANOTHER, [moved])
        # The slot of the database of which this one is a copy.
        if source.fetchone() == (0,):
            return moved
    return _present_name(source, known, wanted) or wanted


def lost_names(source: Any, log: Any, name: str) -> list[str]:
    """Return the slots of a log that may be of this database before an upgrade of its server.

    pg_upgrade gives the server another identifier. It keeps the oids of databases, and from PostgreSQL 17 on
    the slots; without its slot a database cannot be told from one of another server.

    Args:
        source: A cursor of the source, whose search path is closed.
        log: A cursor of the database of the log, as well.
        name: The slot of the database. None is returned if the log knows it.
    """
    here = _identity(source)
    log.execute(_MAY_READ)
    if log.fetchone() == (0,):
        return []
    log.execute(_CHECKPOINTS)
    known = [KnownSlot(*row) for row in log.fetchall()]
    if any(slot.name == name for slot in known):
        return []
    return [slot.name for slot in known if slot.database == here.oid and slot.system_identifier != here[1]]


def kept_name(known: Sequence[KnownSlot], here: DatabaseIdentity, wanted: str) -> str | None:
    """Return the slot that a log knows for a database, if there is one.

    Args:
        known: The slots of the log, the one that was used last first.
        here: The database.
        wanted: The name that a new slot would have. It is also the name of a database's slot that was
            restored on another server.
    """
    own = [slot.name for slot in known if (slot.system_identifier, slot.database) == here[1:]]
    if own and wanted not in own:
        return own[0]
    return wanted if any(slot.name == wanted for slot in known) else None


def moved_name(known: Iterable[KnownSlot], here: DatabaseIdentity, log: DatabaseIdentity) -> str | None:
    """Return the slot of a database that was restored under another name, together with its log."""
    return next((slot.name for slot in known if slot.is_local), None) if here == log else None


def _present_name(source: Any, known: Iterable[KnownSlot], wanted: str) -> str | None:
    """Return the slot of the log that is in a database of another server: pg_upgrade has kept it."""
    names = [slot.name for slot in known]
    source.execute(_PRESENT, [[*names, wanted]])
    present = {name for (name,) in source.fetchall()}
    return None if wanted in present else next((name for name in names if name in present), None)


def _identity(cursor: Any) -> DatabaseIdentity:
    cursor.execute(_IDENTITY)
    return DatabaseIdentity(*cursor.fetchone())
