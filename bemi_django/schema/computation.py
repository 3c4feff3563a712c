"""The role without rights that evaluates generated columns and casts to json for the worker."""

from __future__ import annotations

from django.db import connections

from bemi_django.schema import installed
from bemi_django.schema.search_path import closed_cursor

#: The role. It is one of the cluster: every database uses the same.
ROLE = "_bemi_compute"
#: The function that it owns.
FUNCTION = "_bemi.compute_v1(text, text[])"

_IS_READY = """
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_roles r ON r.oid = p.proowner
    WHERE p.oid = '_bemi.compute_v1(text, text[])'::pg_catalog.regprocedure
        AND r.rolname = '_bemi_compute'::pg_catalog.name
        AND NOT (r.rolsuper OR r.rolcanlogin OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication
                 OR r.rolbypassrls)
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_auth_members m WHERE m.member = r.oid))
"""
# PostgreSQL 18 publishes stored columns, so only virtual ones have to be computed.
_IS_NEEDED = """
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_trigger t ON t.tgrelid = a.attrelid
    WHERE t.tgname = '_bemi_capture'::pg_catalog.name AND NOT a.attisdropped AND (
        a.attgenerated = 'v' OR a.attgenerated = 's'
            AND pg_catalog.current_setting('server_version_num')::pg_catalog.int4 < 180000)
) OR EXISTS (
    SELECT FROM pg_catalog.pg_cast c
    WHERE c.casttarget = 'pg_catalog.json'::pg_catalog.regtype AND c.castmethod = 'f'
        AND c.castsource >= 16384
)
"""

# What the worker has evaluated: casts to json of user-defined types, and generated columns.
_USED = """
WITH computed AS (
    SELECT d.oid AS definition, d.adrelid AS relation, d.adnum AS number
    FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE a.attgenerated <> ''
),
needed AS (
    SELECT d.refclassid, d.refobjid FROM pg_depend d JOIN computed c
        ON d.classid = 'pg_attrdef'::regclass AND d.objid = c.definition
        -- PostgreSQL 14 stores the dependency of the column.
        OR d.classid = 'pg_class'::regclass AND d.objid = c.relation AND d.objsubid = c.number
),
function AS (
    SELECT castfunc AS oid FROM pg_cast WHERE casttarget = 'json'::regtype AND castmethod = 'f'
    UNION SELECT refobjid FROM needed WHERE refclassid = 'pg_proc'::regclass
    UNION SELECT oprcode FROM needed JOIN pg_operator o ON o.oid = refobjid
          WHERE refclassid = 'pg_operator'::regclass
),
type AS (
    SELECT castsource AS oid FROM pg_cast WHERE casttarget = 'json'::regtype AND castmethod = 'f'
    UNION SELECT refobjid FROM needed WHERE refclassid = 'pg_type'::regclass
    UNION SELECT atttypid FROM pg_attribute JOIN computed ON attrelid = relation
          WHERE attnum > 0 AND NOT attisdropped
),
namespace AS (
    SELECT pronamespace AS oid FROM function JOIN pg_proc USING (oid)
    UNION SELECT typnamespace FROM type JOIN pg_type USING (oid)
    UNION SELECT oprnamespace FROM needed JOIN pg_operator o ON o.oid = refobjid
          WHERE refclassid = 'pg_operator'::regclass
)
SELECT concat('USAGE ON SCHEMA ', quote_ident(nspname::text)) FROM namespace JOIN pg_namespace USING (oid)
WHERE NOT has_schema_privilege(%(role)s::name, oid, 'USAGE')
UNION ALL
SELECT concat('EXECUTE ON FUNCTION ', oid::regprocedure::text) FROM function
WHERE NOT has_function_privilege(%(role)s::name, oid, 'EXECUTE')
ORDER BY 1
"""


def missing_rights(using: str) -> list[str]:
    """Return the rights that the role lacks on the functions and types of generated columns and casts.

    Returns:
        What is to be granted, as ``USAGE ON SCHEMA name``.
    """
    with closed_cursor(using) as cursor:
        cursor.execute("SELECT count(*) > 0 FROM pg_roles WHERE rolname = %s::name", [ROLE])
        (exists,) = cursor.fetchone()
        cursor.execute(_USED, {"role": ROLE if exists else "public"})
        return [right for (right,) in cursor.fetchall()]


def is_missing(using: str) -> bool:
    """Return whether something has to be computed and cannot be, because the role is not set up.

    Raises:
        NotInstalled: ``migrate`` was not run.
    """
    with connections[using].cursor() as cursor:
        installed.require(cursor, "compute_v1")
        cursor.execute(_IS_READY)
        (is_ready,) = cursor.fetchone()
        if not is_ready:
            cursor.execute(_IS_NEEDED)
            (is_needed,) = cursor.fetchone()
    return not is_ready and bool(is_needed)
