"""Find tables whose owners can have code run by whoever reads them."""

from __future__ import annotations

from typing import Any

# The server evaluates parts of expressions of indexes, statistics, partitions and constraints while it plans
# a query; to_jsonb() calls casts to json, and what reads JSON checks domains. Triggers and defaults are for
# those who write. What belongs to a superuser, such as most extensions, or to this role is trusted.
_ROLES = """
WITH RECURSIVE tables (oid) AS (
    SELECT %(table)s::oid
    UNION SELECT t.relid::oid FROM pg_partition_tree(%(table)s::oid) t
),
used (oid) AS (
    SELECT a.atttypid FROM pg_attribute a
    WHERE a.attrelid = %(table)s::oid AND a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT part.oid FROM used u JOIN pg_type t ON t.oid = u.oid CROSS JOIN LATERAL (
        SELECT t.typbasetype WHERE t.typtype = 'd'
        UNION ALL SELECT t.typelem WHERE t.typsubscript = 'array_subscript_handler'::regproc
        UNION ALL SELECT a.atttypid FROM pg_attribute a
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) part (oid)
),
parts (class, oid) AS (
    SELECT 'pg_class'::regclass, t.oid FROM tables t
    UNION ALL SELECT 'pg_class'::regclass, i.indexrelid FROM pg_index i JOIN tables t ON t.oid = i.indrelid
    UNION ALL SELECT 'pg_statistic_ext'::regclass, s.oid
    FROM pg_statistic_ext s JOIN tables t ON t.oid = s.stxrelid
    UNION ALL SELECT 'pg_constraint'::regclass, k.oid FROM pg_constraint k JOIN tables t ON t.oid = k.conrelid
    UNION ALL SELECT 'pg_constraint'::regclass, k.oid FROM pg_constraint k JOIN used u ON u.oid = k.contypid
),
called (oid) AS (
    SELECT coalesce(o.oprcode::oid, d.refobjid)
    FROM parts p JOIN pg_depend d ON d.classid = p.class AND d.objid = p.oid
    LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
    WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)
    UNION SELECT k.castfunc FROM used u JOIN pg_cast k ON k.castsource = u.oid
    WHERE k.casttarget = 'json'::regtype AND k.castmethod = 'f'
)
SELECT DISTINCT r.rolname::text
FROM called c JOIN pg_proc p ON p.oid = c.oid JOIN pg_roles r ON r.oid = p.proowner
WHERE p.oid >= 16384 AND NOT r.rolsuper AND r.rolname <> current_user
    AND (%(always)s OR current_setting('is_superuser') = 'on')
ORDER BY 1
"""


def code_of_others(cursor: Any, table: int, *, always: bool = False) -> list[str]:
    """Return the roles whose code may be run with the rights of this role when it reads a table.

    Policies are not looked at: without row_security, the server refuses to read tables that have them.

    Args:
        cursor: A cursor with a closed path.
        table: The oid of the table.
        always: Also if this role is no superuser.
    """
    cursor.execute(_ROLES, {"table": table, "always": always})
    return [role for (role,) in cursor.fetchall()]
