"""The months of which the archive has changes that the log does not have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec

from bemi_django import conf
from bemi_django.log.places import Place
from bemi_django.models import Change
from bemi_django.schema import installed
from bemi_django.schema.search_path import closed_cursor

#: Months that are named.
_MOST = 12

# Asked of the catalog, because a name in a schema that is closed is an error.
_MAY_READ = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = '_bemi' AND c.relname = 'incomplete' AND has_schema_privilege(n.oid, 'USAGE')
    AND has_table_privilege(c.oid, 'SELECT')
"""
# If the last of them is there, they were brought back.
_REMOVED = """
SELECT DISTINCT to_char(k.month, 'YYYY-MM') FROM _bemi.incomplete k
JOIN unnest(%s::text[], %s::text[], %s::text[]) p (database, schema, name)
    ON (p.database, p.schema, p.name) = (k.database, k.schema, k."table")
WHERE NOT EXISTS (SELECT FROM {log} c WHERE c.id = k.last)
"""


def said_of_archived_months(places: Iterable[Place], lacking: str) -> Iterator[str]:
    """Yield lines that say of which months the archive has what the log lacks, and how to bring that back.

    Args:
        places: The tables of the rows.
        lacking: What is not known of these months, for the lines.

    Raises:
        ArchiveError: The archive cannot be read.
    """
    if not conf.archive():
        return
    if find_spec("pyarrow") is None:
        yield (
            f"BEMI_ARCHIVE may have months that the log does not have, and {lacking}: run pip install "
            "'bemi-django-wal[archive]' and ask it with 'manage.py bemi archive query'"
        )
        return
    gone, thinned = _months(places)
    for months, having, option in (
        (gone, "only the archive has the months", ""),
        (
            thinned,
            "the archive may have changes of these tables that were removed from the log, of the months",
            " --missing",
        ),
    ):
        if months:
            named = ", ".join(months[:_MOST]) + (f" and {len(months) - _MOST} more" if months[_MOST:] else "")
            yield (
                f"{having} {named}, and {lacking}: bring each of them back with 'manage.py bemi import "
                f"{months[0]}{option}' and run this again, or ask them with 'manage.py bemi archive query'"
            )


def _months(places: Iterable[Place]) -> tuple[list[str], list[str]]:
    """Return the months of the archive that the log does not have, and those of which it lacks changes."""
    from bemi_django.archive.location import open_location

    log, removed = Change.objects.using(conf.destination()).order_by(), _removed(places)
    gone, thinned = list[str](), list[str]()
    for month in open_location(conf.archive()).months():
        if not log.filter(committed_at__gte=month.start, committed_at__lt=month.next.start).exists():
            gone.append(str(month))
        elif str(month) in removed:
            thinned.append(str(month))
    return gone, thinned


def _removed(places: Iterable[Place]) -> set[str]:
    """Return the months of which changes of tables were removed from the log."""
    wanted = sorted(set(places))
    with closed_cursor(conf.destination()) as cursor:
        cursor.execute(_MAY_READ)
        if not wanted or cursor.fetchone() == (0,):
            return set()
        log = installed.log_of(cursor).replace("%", "%%")
        cursor.execute(_REMOVED.format(log=log), [list(part) for part in zip(*wanted, strict=True)])
        return {month for (month,) in cursor.fetchall()}
