"""What lies outside the schema of an installation: replication slots, and rights and roles of the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from django.db import DatabaseError

from bemi_django import conf
from bemi_django.exceptions import sqlstate_of
from bemi_django.schema import computation, installed
from bemi_django.schema.database_names import server_name
from bemi_django.schema.replication.slots import slot_of
from bemi_django.schema.search_path import closed_cursor
from bemi_django.schema.sql import quote

_INSUFFICIENT_PRIVILEGE, _DEPENDENT_OBJECTS, _IN_USE = "42501", "2BP01", "55006"
_SLOTS = """
SELECT s.slot_name::text, s.active_pid FROM pg_replication_slots s
WHERE s.database = current_database() AND s.plugin = 'pgoutput' AND s.slot_name = ANY (%s::name[])
ORDER BY 1
"""
# Roles with rights on objects of ours, and the rights outside them that bemi grants has given, as REVOKE.
_ROLES = """
WITH ours AS (
    SELECT c.relacl AS acl, c.relowner AS owner FROM pg_class c
    WHERE c.relnamespace = '_bemi'::regnamespace OR c.oid = _bemi.log_v1()
    UNION ALL
    SELECT p.proacl, p.proowner FROM pg_proc p WHERE p.pronamespace = '_bemi'::regnamespace
    UNION ALL
    SELECT n.nspacl, n.nspowner FROM pg_namespace n WHERE n.oid = '_bemi'::regnamespace
),
roles AS (
    SELECT DISTINCT r.oid, r.rolname FROM ours, aclexplode(ours.acl) a JOIN pg_roles r ON r.oid = a.grantee
    WHERE r.oid NOT IN (SELECT owner FROM ours) AND NOT r.rolsuper AND r.rolname <> %s
)
SELECT r.rolname::text, (
    SELECT string_agg(line, '; ' ORDER BY line) FROM (
        SELECT format('REVOKE CONNECT ON DATABASE %%I FROM %%I', d.datname, r.rolname) AS line
        FROM pg_database d, aclexplode(d.datacl) a
        WHERE d.datname = current_database() AND a.grantee = r.oid AND a.privilege_type = 'CONNECT'
        UNION
        SELECT format('REVOKE USAGE ON SCHEMA %%I FROM %%I', n.nspname, r.rolname)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(n.nspacl) a
        WHERE c.oid = _bemi.log_v1() AND a.grantee = r.oid AND a.privilege_type = 'USAGE') revoked)
FROM roles r ORDER BY 1
"""
# Whether the role is there, whether other databases use it, and whether it owns anything here.
_COMPUTE = """
SELECT count(d.objid) FILTER (WHERE d.dbid NOT IN (0, here.oid)) > 0,
       count(d.objid) FILTER (WHERE d.dbid IN (0, here.oid) AND d.deptype = 'o') > 0
FROM pg_roles r
CROSS JOIN (SELECT oid FROM pg_database WHERE datname = current_database()) here
LEFT JOIN pg_shdepend d ON d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid
WHERE r.rolname = %s
GROUP BY r.oid
"""


class OwnSlot(NamedTuple):
    """A replication slot; ``reader`` is the process of the server that serves its worker, if there is one."""

    name: str
    reader: int | None


class LeftSlot(NamedTuple):
    """A replication slot that was not dropped: what to do, and whether a worker reads it."""

    remedy: str
    is_read: bool


def slots_of(source: str) -> list[OwnSlot]:
    """Return the replication slots of a source: the one of the settings, and those that its log knows.

    Args:
        source: The alias of the source.
    """
    names = [slot_of(source)]
    with closed_cursor(conf.destination()) as cursor:
        if installed.has(cursor, "partition_v1"):
            cursor.execute("SELECT slot FROM _bemi.checkpoint")
            names += [name for (name,) in cursor.fetchall()]
    with closed_cursor(source) as cursor:
        cursor.execute(_SLOTS, [names])
        return [OwnSlot(*row) for row in cursor.fetchall()]


def drop_slot(source: str, slot: str) -> LeftSlot | None:
    """Drop a replication slot; return why it is left if the role may not, or a worker reads it."""
    drop = f"SELECT pg_drop_replication_slot('{slot}')"
    try:
        with closed_cursor(source) as cursor:
            cursor.execute("SELECT pg_drop_replication_slot(%s)", [slot])
    except DatabaseError as error:
        state = sqlstate_of(error)
        if state == _IN_USE:
            remedy = f"a worker reads the slot {slot}: stop 'manage.py bemi run', then run {drop}"
        elif state == _INSUFFICIENT_PRIVILEGE:
            remedy = f"the replication slot {slot} retains WAL: as a role with REPLICATION, run {drop}"
        else:
            raise
        return LeftSlot(remedy, is_read=state == _IN_USE)
    return None


def rights_of_others(aliases: Iterable[str]) -> Iterator[str]:
    """Yield a line for each role that has rights on what is installed, with how to take the others away."""
    for alias in aliases:
        with closed_cursor(alias) as cursor:
            if not installed.has(cursor, "must_stay_v1"):
                continue
            cursor.execute(_ROLES, [computation.ROLE])
            found = cursor.fetchall()
        for role, statements in found:
            remedy = "; ".join(filter(None, [statements, f"DROP ROLE {quote(role)}"]))
            place = server_name(alias)
            yield f"the role {role} stays ({place}): unless something else needs it, run {remedy}"


def drop_compute_role(using: str, *, dry_run: bool) -> tuple[bool, str | None]:
    """Drop the role that computes values, unless other databases of the cluster use it.

    Args:
        using: The alias of a database from which the installation was removed.
        dry_run: Only say what would be done.

    Returns:
        Whether it was dropped, and a line that says why not if it is left.
    """
    role = computation.ROLE
    with closed_cursor(using) as cursor:
        cursor.execute(_COMPUTE, [role])
        found = cursor.fetchone()
    if found is None:
        return False, None
    is_used_elsewhere, is_owner = found
    if is_used_elsewhere:
        return False, f"the role {role} stays, because other databases of this server use it"
    if dry_run:
        return True, None
    if is_owner:
        return False, f"the role {role} stays, because it owns objects in {server_name(using)}"
    try:
        with closed_cursor(using) as cursor:
            # What is left are grants.
            cursor.execute(f"DROP OWNED BY {quote(role)}")
            cursor.execute(f"DROP ROLE {quote(role)}")
    except DatabaseError as error:
        if sqlstate_of(error) not in (_INSUFFICIENT_PRIVILEGE, _DEPENDENT_OBJECTS):
            raise
        return False, f"the role {role} is left: as a superuser, run DROP OWNED BY {role}; DROP ROLE {role}"
    return True, None
