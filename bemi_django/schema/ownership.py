"""Give the log to a role that is not the application's, so that the application can only read it."""

from __future__ import annotations

from collections.abc import Iterator

from bemi_django.schema import installed
from bemi_django.schema.search_path import closed_cursor
from bemi_django.schema.sql import quote

# What the application's migrations, event triggers and admin have to write. If it owned them, it could give
# them triggers and policies, which would run with the rights of the worker and of members of the log's owner.
_OF_THE_APPLICATION = (
    "tracking", "replica_identities", "relations", "followed", "past", "alert_rules", "saved_views",
)  # fmt: skip
# What was removed from the log, and what may be.
_REMOVED = (
    "_bemi.completeness, _bemi.incomplete, _bemi.lost_months, _bemi.prunings, _bemi.pruned, "
    "_bemi.retention, _bemi.touched, _bemi.walked"
)
# What runs with the rights of the application, or of nobody.
_STAYS = ("follow_ddl_v1", "past_make_v1", "compute_v1")
_OBJECTS = """
SELECT kind, name FROM (
    SELECT 'TABLE' AS kind, c.oid::regclass::text AS name FROM pg_class c
    WHERE c.relkind IN ('r', 'p', 'v') AND (
        c.oid IN (SELECT relid FROM pg_partition_tree(_bemi.log_v1()))
        OR c.relnamespace = '_bemi'::regnamespace)
    UNION ALL
    SELECT 'FUNCTION', p.oid::regprocedure::text FROM pg_proc p
    WHERE p.pronamespace = '_bemi'::regnamespace AND p.proname <> ALL (%(stays)s::name[])
) owned ORDER BY kind, name
"""
_APPLICATION = "SELECT current_user::text, r.rolsuper FROM pg_roles r WHERE r.rolname = current_user"


def statements(using: str, owner: str) -> Iterator[str]:
    """Return statements after which the log belongs to ``owner``, and the role of ``using`` may only read it.

    Raises:
        NotInstalled: The database has no log.
    """
    log = installed.log(using)
    schema, new = installed.schema_of(log), quote(owner)
    with closed_cursor(using) as cursor:
        cursor.execute(_OBJECTS, {"stays": list(_STAYS)})
        objects = cursor.fetchall()
        cursor.execute(_APPLICATION)
        application, is_superuser = cursor.fetchone()
    role = quote(application)
    if is_superuser:
        yield f"-- {role} is a superuser: whoever owns the log, it may do anything with it"
    # Who owns a schema may drop everything in it.
    for name in ("_bemi", schema):
        yield f"ALTER SCHEMA {name} OWNER TO {new};"
    for kind, name in objects:
        yield f"ALTER {kind} {name} OWNER TO {new};"
    yield f"REVOKE ALL ON {log} FROM {role};"
    yield f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {role};"
    yield f"GRANT USAGE ON SCHEMA _bemi TO {role};"
    readable = (
        f"{log}, _bemi.checkpoint, _bemi.histories, _bemi.dead_letters, _bemi.accepted, "
        f"_bemi.omitted_changes, _bemi.lanes, {_REMOVED}"
    )
    yield f"GRANT SELECT ON {readable} TO {role};"
    tables = ", ".join(
        f"_bemi.{name}" for name in (*_OF_THE_APPLICATION, "omitted_columns", "verifications", "verified")
    )
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {role};"
