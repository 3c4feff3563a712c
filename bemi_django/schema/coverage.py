"""Which tables of a database are tracked, which are not, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from bemi_django import conf
from bemi_django.schema import installed, tracking
from bemi_django.schema.replication import chosen_tables
from bemi_django.schema.search_path import closed_cursor

_TABLES = """
WITH published AS (
    SELECT r.prrelid AS oid FROM pg_catalog.pg_publication_rel r
    JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE p.pubname = %(publication)s::pg_catalog.name
),
tables AS (
    SELECT c.oid, pg_catalog.concat(n.nspname, '.', c.relname) AS name
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
        AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.oid NOT IN (SELECT _bemi.ours_v1())
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
                            AND d.deptype = 'e')
)
SELECT t.name, t.oid IN (SELECT oid FROM published),
       t.name LIKE ANY (%(include)s::pg_catalog.text[]), t.name LIKE ANY (%(exclude)s::pg_catalog.text[]),
       (SELECT pg_catalog.min(parent.name)
        FROM pg_catalog.pg_inherits i JOIN tables parent ON parent.oid = i.inhparent
        WHERE i.inhrelid = t.oid AND i.inhparent IN (SELECT oid FROM published))
FROM tables t ORDER BY 1
"""
_UNMATCHED = """
SELECT pattern.number::pg_catalog.int4
FROM pg_catalog.unnest(%s::pg_catalog.text[]) WITH ORDINALITY pattern (name, number)
WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
        AND pg_catalog.concat(n.nspname, '.', c.relname) LIKE pattern.name)
ORDER BY 1
"""
_HAS_EVENT_TRIGGERS = """
SELECT pg_catalog.count(*) FROM pg_catalog.pg_event_trigger e
WHERE e.evtname IN ('_bemi_follow_ddl', '_bemi_follow_drop') AND e.evtenabled <> 'D'
"""


class TableCoverage(NamedTuple):
    """Whether a table is tracked.

    Attributes:
        name: ``schema.table``.
        is_tracked: Whether its changes are recorded.
        reason: Why not, or what it lacks.
        obstacle: What has to be removed before it can be tracked, such as ``unlogged``.
        needs_sync: Whether ``bemi sync`` changes that.
        parent: The tracked table that it inherits from. Rows written by that table's name lie in it, too.
        is_chosen: Whether the settings name it.
    """

    name: str
    is_tracked: bool
    reason: str = ""
    obstacle: str = ""
    needs_sync: bool = False
    parent: str | None = None
    is_chosen: bool = True


def read_coverage(using: str) -> list[TableCoverage]:
    """Return the tables of a database in alphabetical order, a partitioned table as one.

    Args:
        using: The alias of the database.

    Raises:
        NotInstalled: ``migrate`` was not run.
    """
    lacking = {step.name: step for step in reversed(tracking.plan(using))}
    include, exclude = chosen_tables.patterns(using)
    with closed_cursor(using) as cursor:
        given: dict[str, Any] = {"publication": conf.publication(), "include": include, "exclude": exclude}
        cursor.execute(_TABLES, given)
        return [_of(lacking.get(name), name, *row) for name, *row in cursor.fetchall()]


def _of(
    step: tracking.TrackingStep | None,
    name: str,
    is_published: bool,
    is_included: bool,
    is_excluded: bool,
    parent: str | None,
) -> TableCoverage:
    if step is not None and step.statement:
        reason, is_chosen = _("missing: %s") % step.what, is_included and not is_excluded
        return TableCoverage(name, is_published, reason, needs_sync=True, parent=parent, is_chosen=is_chosen)
    if step is not None:
        return TableCoverage(name, False, step.what, step.what, parent=parent)
    if is_published:
        return TableCoverage(name, True, parent=parent)
    if is_excluded:
        return TableCoverage(name, False, _("excluded by BEMI_EXCLUDE or by default"), parent=parent)
    if not is_included:
        return TableCoverage(name, False, _("not in BEMI_INCLUDE"), parent=parent)
    return TableCoverage(name, False, _("removed by an administrator"), needs_sync=True, parent=parent)


def summary(tables: Sequence[TableCoverage], *, is_plan: bool = False) -> str:
    """Return one line: how many tables are tracked, how many are not, and why.

    Args:
        tables: The tables.
        is_plan: Whether tables that the next sync tracks are counted for themselves.
    """
    tracked = sum(table.is_tracked for table in tables)
    others = [table for table in tables if not table.is_tracked]
    due = sum(table.needs_sync for table in others) if is_plan else 0
    reasons = Counter(table.reason for table in others if not (is_plan and table.needs_sync))
    counted = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return (
        f"{tracked} tables tracked"
        + (f", {due} to be tracked" if due else "")
        + (f", {len(others) - due} not: {counted}" if counted else "")
    )


def unmatched_patterns(using: str) -> list[str]:
    """Return the patterns of the tables to track that match no table of a database.

    A schema of the search path may be empty: by default, they are returned only if none of them matches.

    Raises:
        NotInstalled: ``migrate`` was not run.
    """
    include = chosen_tables.included(using)
    with closed_cursor(using) as cursor:
        cursor.execute(_UNMATCHED, [chosen_tables.like(include)])
        found = [include[number - 1] for (number,) in cursor.fetchall()]
    is_default = not conf.include(())
    return [] if is_default and len(found) < len(include) else found


def has_event_triggers(using: str) -> bool:
    """Return whether new and altered tables are noticed at once, and not only by ``migrate`` and ``sync``.

    Raises:
        NotInstalled: ``migrate`` was not run.
    """
    with closed_cursor(using) as cursor:
        installed.require(cursor, "event_triggers_v1")
        cursor.execute(_HAS_EVENT_TRIGGERS)
        return bool(cursor.fetchone()[0] == 2)


def outside_patterns(tables: Iterable[TableCoverage]) -> list[TableCoverage]:
    """Return the tables that are not tracked though rows of a tracked table may lie in them."""
    return [table for table in tables if table.parent and not table.is_tracked and not table.needs_sync]
