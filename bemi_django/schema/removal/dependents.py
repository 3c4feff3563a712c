"""Objects of others that depend on what was installed, or are in its schema, so that it cannot be removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from bemi_django.exceptions import BemiError
from bemi_django.schema import installed, sql
from bemi_django.schema.search_path import closed_cursor

# Of a view its rule depends, and of a table its constraints, defaults, triggers and policies do.
_DEPENDENTS = """
WITH schemas AS (
    SELECT n.oid FROM pg_namespace n WHERE n.nspname = '_bemi' OR starts_with(n.nspname::text, '_bemi_past_')
),
relations AS (
    SELECT c.oid FROM pg_class c
    WHERE c.relnamespace IN (SELECT s.oid FROM schemas s) OR c.oid = _bemi.log_v1()
        OR c.oid IN (SELECT t.relid FROM pg_partition_tree(_bemi.log_v1()) t)
),
ours AS (
    SELECT 'pg_class'::regclass AS class, r.oid FROM relations r
    UNION ALL
    SELECT 'pg_class'::regclass, i.indexrelid FROM pg_index i JOIN relations r ON r.oid = i.indrelid
    UNION ALL
    SELECT 'pg_proc'::regclass, p.oid FROM pg_proc p WHERE p.pronamespace IN (SELECT s.oid FROM schemas s)
    UNION ALL
    SELECT 'pg_type'::regclass, unnest(ARRAY[t.oid, t.typarray]) FROM pg_type t
    WHERE t.typnamespace IN (SELECT s.oid FROM schemas s) OR t.typrelid IN (SELECT r.oid FROM relations r)
),
found AS (
    SELECT DISTINCT CASE WHEN w.oid IS NULL THEN d.classid ELSE 'pg_class'::regclass END AS class,
           coalesce(w.ev_class, d.objid) AS oid,
           CASE WHEN w.oid IS NULL AND coalesce(c.relkind, 'r') IN ('r', 'p')
               THEN d.objsubid ELSE 0 END AS part,
           coalesce(w.ev_class, t.tgrelid, f.adrelid, k.conrelid, p.polrelid,
                    CASE d.classid WHEN 'pg_class'::regclass THEN d.objid END) AS relation
    FROM ours o JOIN pg_depend d ON (d.refclassid, d.refobjid) = (o.class, o.oid) AND d.deptype = 'n'
    LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
    LEFT JOIN pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
    LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
    LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
    LEFT JOIN pg_policy p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
    LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
    LEFT JOIN pg_event_trigger e ON d.classid = 'pg_event_trigger'::regclass AND e.oid = d.objid
    WHERE coalesce(t.tgname, e.evtname, '') !~ '^_bemi_'
)
SELECT pg_describe_object(f.class, f.oid, f.part), CASE i.type
    WHEN 'table constraint' THEN format('ALTER TABLE %s DROP CONSTRAINT %I', f.relation::regclass, k.conname)
    WHEN 'default value' THEN format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT', f.relation::regclass, (
        SELECT a.attname FROM pg_attrdef d
        JOIN pg_attribute a ON (a.attrelid, a.attnum) = (d.adrelid, d.adnum)
        WHERE d.oid = f.oid))
    WHEN 'table column' THEN format('ALTER TABLE %s DROP COLUMN %I', f.relation::regclass, (
        SELECT a.attname FROM pg_attribute a WHERE (a.attrelid, a.attnum) = (f.oid, f.part)))
    WHEN 'composite type' THEN format('DROP TYPE %s', i.identity)
    ELSE format('DROP %s %s', upper(i.type), i.identity) END
FROM found f CROSS JOIN LATERAL pg_identify_object(f.class, f.oid, f.part) i
LEFT JOIN pg_constraint k ON f.class = 'pg_constraint'::regclass AND k.oid = f.oid
WHERE (f.class, f.oid) NOT IN (SELECT o.class, o.oid FROM ours o) AND i.schema IS DISTINCT FROM '_bemi'
    AND (f.relation IS NULL OR f.relation NOT IN (SELECT r.oid FROM relations r))
    -- Those of months go with that of the log.
    AND coalesce(k.conparentid, 0) = 0
    -- What goes with something of ours, such as the statistics of a month.
    AND NOT EXISTS (
        SELECT FROM pg_depend d JOIN ours o ON (d.refclassid, d.refobjid) = (o.class, o.oid)
        WHERE (d.classid, d.objid) = (f.class, f.oid) AND d.deptype IN ('a', 'i'))
ORDER BY 1
"""
# What was put into the schema beside what is installed. What belongs to a table or an extension goes with it.
_STRANGERS = """
SELECT pg_describe_object(d.classid, d.objid, 0), format('ALTER %%s %%s SET SCHEMA public', CASE i.type
    WHEN 'composite type' THEN 'TYPE' ELSE upper(i.type) END, i.identity)
FROM pg_depend d CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) i
LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
WHERE (d.refclassid, d.refobjid) = ('pg_namespace'::regclass, '_bemi'::regnamespace) AND d.deptype = 'n'
    AND coalesce(c.relname, p.proname, '')::text <> ALL (%s)
    AND NOT EXISTS (
        SELECT FROM pg_depend k
        WHERE (k.classid, k.objid) = (d.classid, d.objid) AND k.deptype IN ('a', 'i', 'e'))
ORDER BY 1
"""


class Dependent(NamedTuple):
    """An object of others, as PostgreSQL describes it, what hinders, and the statement that ends that."""

    description: str
    hindrance: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.description} {self.hindrance}: run {self.remedy}"


def dependents_of(using: str) -> list[Dependent]:
    """Return the objects of others that depend on the log of a database, or are in its schema ``_bemi``.

    Args:
        using: The alias of the database.
    """
    with closed_cursor(using) as cursor:
        if not installed.has(cursor, "partition_v1"):
            return []
        cursor.execute(_DEPENDENTS)
        found = [Dependent(what, "depends on the log", remedy) for what, remedy in cursor.fetchall()]
        cursor.execute(_STRANGERS, [sorted(sql.names())])
        found += [Dependent(what, "is in the schema _bemi", remedy) for what, remedy in cursor.fetchall()]
        return found


def report(aliases: Iterable[str], say: Callable[[str], object], *, is_refused: bool) -> None:
    """Say a line for each object of others that depends on a log or is in its schema.

    Args:
        aliases: The aliases of the databases whose logs are to be removed.
        say: Called with a line.
        is_refused: Whether to refuse to go on if there is one.

    Raises:
        BemiError: There is one.
    """
    found = [dependent for alias in aliases for dependent in dependents_of(alias)]
    for dependent in found:
        say(f"{dependent} first")
    if found and is_refused:
        raise BemiError(
            "nothing was removed, because objects of others depend on the log or are in its schema: run the "
            "statements above, then run this again, or keep the log (--keep-log)"
        )
