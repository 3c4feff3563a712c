"""Tell of each table whether it is tracked, and why not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from django.db import connections
from django.utils.translation import gettext as _

from bemi_django import conf
from bemi_django.exceptions import NotInstalled
from bemi_django.schema import tracking

_TABLES = """
SELECT n.nspname || '.' || c.relname,
       EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
               WHERE r.prrelid = c.oid AND p.pubname = %s),
       n.nspname || '.' || c.relname LIKE ANY (%s), n.nspname || '.' || c.relname LIKE ANY (%s)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.oid NOT IN (SELECT _bemi.ours_v1())
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1
"""


class TableHealth(NamedTuple):
    """A table, whether it is tracked, why not, and the command that changes that."""

    name: str
    is_tracked: bool
    reason: str
    command: str


def table_health(alias: str) -> Iterator[TableHealth]:
    """Yield the tables of a database in alphabetical order."""
    option = "" if alias == "default" else f" --database {alias}"
    sync = f"python manage.py bemi sync{option}"
    try:
        lacking = {step.name: step for step in reversed(tracking.plan(alias))}
    except NotInstalled:
        yield TableHealth(
            "", False, _("the audit trail is not installed"), f"python manage.py migrate{option}"
        )
        return
    with connections[alias].cursor() as cursor:
        like = [tracking.like(conf.include()), tracking.like(conf.exclude())]
        cursor.execute(_TABLES, [conf.publication(), *like])
        found = cursor.fetchall()
    for name, is_published, is_included, is_excluded in found:
        step = lacking.get(name)
        if step is not None and step.statement:
            yield TableHealth(name, is_published, _("missing: %s") % step.what, sync)
        elif step is not None:
            yield TableHealth(name, False, step.what, _remedy(name, step.what))
        elif is_published:
            yield TableHealth(name, True, "", "")
        elif is_excluded:
            yield TableHealth(name, False, _("excluded by BEMI_EXCLUDE or by default"), "")
        elif not is_included:
            yield TableHealth(name, False, _("not in BEMI_INCLUDE"), "")
        else:
            yield TableHealth(name, False, _("removed by an administrator"), sync)


def _remedy(name: str, obstacle: str) -> str:
    return (
        f"ALTER TABLE {name} SET LOGGED;"
        if obstacle == "unlogged"
        else f"ALTER TABLE {name} ADD PRIMARY KEY ...;"
    )
