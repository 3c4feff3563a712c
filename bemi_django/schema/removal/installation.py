"""Remove what was installed in a database: first what records, then the objects and the log.

Each step is a transaction of its own, finds what is left to do, and can be interrupted and run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from django.db import DatabaseError, connections, transaction

from bemi_django.exceptions import sqlstate_of
from bemi_django.schema import append_only, installed, sql
from bemi_django.schema.locking import briefly
from bemi_django.schema.sql import Installer, quote

_INSUFFICIENT_PRIVILEGE = "42501"
_INSTALLERS = """
SELECT DISTINCT installer FROM _bemi.parts p, pg_catalog.unnest(p.installers) installer ORDER BY 1
"""
_PUBLICATION = """
SELECT p.pubname::pg_catalog.text FROM pg_catalog.pg_publication p
JOIN _bemi.tracking t ON p.pubname OPERATOR(pg_catalog.=) t.publication::pg_catalog.name
"""
_TABLES = """
SELECT p.relation, p.name, p.what, p.statement
FROM (SELECT t.publication AS name FROM _bemi.tracking t WHERE NOT %s) ours
RIGHT JOIN (VALUES ('')) none (name) ON true
CROSS JOIN LATERAL _bemi.plan_v1(coalesce(ours.name, none.name)::pg_catalog.name, '{}', '{}') p
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.relation
WHERE p.what OPERATOR(pg_catalog.<>) 'no longer published' AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
"""
_FORGET = """
UPDATE _bemi.parts SET installers = pg_catalog.array_remove(installers, %s)
WHERE name OPERATOR(pg_catalog.=) ANY (%s)
"""
_HAS_ROWS = "SELECT EXISTS (SELECT FROM {})"
_FORGET_FOLLOWING = "DELETE FROM _bemi.parts WHERE name OPERATOR(pg_catalog.=) 'event_triggers_v1'"
_LEFT = "SELECT pg_catalog.current_setting('_bemi.left', true)"
_ALL = (*sql.SOURCE, *sql.LOG[1:], *sql.PAST)


class _TableStep(NamedTuple):
    relation: int
    name: str
    what: str
    statement: str


class Installation(NamedTuple):
    """What is to be removed from a database.

    Attributes:
        using: The alias of the database.
        parts: The parts to remove, in the order in which they are installed.
        kept: The parts that stay, with the log: those of the log, or none.
        log: The log, quoted; None if the database has none.
    """

    using: str
    parts: Sequence[str]
    kept: Sequence[str]
    log: str | None


def installers_of(using: str) -> list[str]:
    """Return who needs what is installed in a database, as :data:`~bemi_django.schema.sql.Installer`."""
    with connections[using].cursor() as cursor:
        if not installed.has(cursor, "must_stay_v1"):
            return []
        cursor.execute(_INSTALLERS)
        return [installer for (installer,) in cursor.fetchall()]


def require_owner(using: str) -> None:
    """Raise an error that names the owner of the installation, if the role may not remove it.

    Raises:
        DatabaseError: The installation belongs to another role.
    """
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(sql.remove("bemi"))


def step_back(using: str, installers: Iterable[Installer]) -> None:
    """Remember that these installers need nothing any more, and remove what nobody else needs."""

    def work(cursor: Any) -> None:
        for installer in installers:
            cursor.execute(sql.remove(installer, *_ALL))

    briefly(using, work)


def has_rows(using: str) -> bool:
    """Return whether a database has a log with rows."""
    with connections[using].cursor() as cursor:
        if not installed.has(cursor, "partition_v1"):
            return False
        cursor.execute(_HAS_ROWS.format(installed.log_of(cursor)))
        return bool(cursor.fetchone()[0])


def find(using: str, *, keeps_log: bool) -> Installation:
    """Return what is to be removed from a database.

    Args:
        using: The alias of the database.
        keeps_log: Whether a log stays.
    """
    with connections[using].cursor() as cursor:
        if not installed.has(cursor, "must_stay_v1"):
            return Installation(using, (), (), None)
        log = installed.log_of(cursor) if installed.has(cursor, "partition_v1") else None
        cursor.execute("SELECT name FROM _bemi.parts")
        present = {name for (name,) in cursor.fetchall()}
    kept = sql.LOG if keeps_log and log is not None else ()
    return Installation(using, [part for part in _ALL if part in present and part not in kept], kept, log)


def tracked(using: str, dry_run: bool) -> Iterator[str]:
    """Stop following DDL, drop the publication, and remove the tracking of each table; yield what was done.

    What the role may not do is left to :func:`remove`, which reports it.

    Args:
        using: The alias of the source.
        dry_run: Only say what would be done.

    Raises:
        DatabaseError: A table is locked for longer than is waited for. Nothing is lost: run it again.
    """
    with connections[using].cursor() as cursor:
        if not installed.has(cursor, "plan_v1"):
            return
        is_following = installed.has(cursor, "follow_ddl_v1")
    if is_following:
        # First, because they would track tables again.
        if not dry_run:
            briefly(using, _stop_following)
        yield "event triggers"
    name = publication(using)
    if name is not None and (dry_run or _is_done(using, [f"DROP PUBLICATION {quote(name)}"])):
        yield f"publication: {name}"
    for (table, _), group in groupby(_table_steps(using, dry_run), key=attrgetter("name", "relation")):
        steps = list(group)
        if dry_run or _is_done(using, [step.statement for step in steps]):
            yield f"{', '.join(step.what for step in steps)}: {table}"


def publication(using: str) -> str | None:
    """Return the name of the publication that tracking has made, if it is there."""
    with connections[using].cursor() as cursor:
        cursor.execute(_PUBLICATION)
        found = cursor.fetchone()
    return None if found is None else str(found[0])


def remove(
    installation: Installation, installers: Iterable[Installer], report: Callable[[str], object]
) -> None:
    """Remove all objects in one transaction, and report what only another role may remove.

    Args:
        installation: What to remove.
        installers: Those who need the installation no longer.
        report: Called with a line for everything that is left.

    Raises:
        DatabaseError: Something is locked, or objects of others depend on the log.
    """
    left: list[str] = []

    def work(cursor: Any) -> None:
        if installation.log is not None and not installation.kept:
            # A log with rows would stay.
            if "append_only_v1" in installation.parts:
                cursor.execute(append_only.UNPROTECT)
            cursor.execute(f"TRUNCATE {installation.log}, _bemi.dead_letters, _bemi.checkpoint, _bemi.lanes")
        for installer in installers:
            if installation.kept:
                cursor.execute(_FORGET, [installer, list(installation.kept)])
            cursor.execute(sql.remove(installer, *installation.parts))
        cursor.execute(_LEFT)
        left[:] = (cursor.fetchone()[0] or "").splitlines()

    if installation.parts or installation.kept:
        briefly(installation.using, work)
    for line in left:
        report(line)


def _stop_following(cursor: Any) -> None:
    """Remove the event triggers, whoever needs them."""
    cursor.execute(_FORGET_FOLLOWING)
    cursor.execute(sql.read("event_triggers_v1_down"))


def _table_steps(using: str, dry_run: bool) -> list[_TableStep]:
    # If it could not be dropped, it is one of others, whose tables need their replica identity.
    is_left = not dry_run and publication(using) is not None
    with connections[using].cursor() as cursor:
        cursor.execute(_TABLES, [is_left])
        return [_TableStep(*row) for row in cursor.fetchall()]


def _is_done(using: str, statements: Iterable[str]) -> bool:
    """Execute statements in a transaction, and return whether the role may."""

    def work(cursor: Any) -> None:
        for statement in statements:
            cursor.execute(statement)

    try:
        briefly(using, work)
    except DatabaseError as error:
        if sqlstate_of(error) != _INSUFFICIENT_PRIVILEGE:
            raise
        return False
    return True
