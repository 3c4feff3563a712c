"""Drop a month from the log when the archive is proved to have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bemi_django import conf
from bemi_django.archive.location import Location
from bemi_django.archive.manifest import Manifest
from bemi_django.archive.month import Month
from bemi_django.archive.storing import different
from bemi_django.exceptions import ArchiveError
from bemi_django.retention import waiting
from bemi_django.retention.months import Held, Written, begin, drop, end, patiently, removing, watch
from bemi_django.retention.rules import of_settings
from bemi_django.retention.table_rule import TableRule
from bemi_django.schema.search_path import closed_cursor

_HELD_BY_OTHERS = "another session uses it; run the command again"
_IS_OWNER = "SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class c WHERE c.oid = _bemi.log_v1()"
_PARTITION = "SELECT _bemi.month_v1(%s)::text"
_HELD = """
SELECT EXISTS (SELECT FROM {} WHERE %s::text IS NULL OR "table" = %s AND (%s::text IS NULL OR schema = %s))
"""
_WAITING = """
SELECT p.id FROM {} p WHERE p.id IN (SELECT u.change_id FROM _bemi.undelivered u) OR EXISTS (
    SELECT FROM jsonb_to_recordset(%s::jsonb) w (database text, last uuid)
    WHERE p.id > w.last AND p.database = coalesce(w.database, p.database))
ORDER BY p.id LIMIT 1
"""
# Dead letters go with their changes, and the archive has not got them.
_INCOMPLETE = """
SELECT l.id FROM _bemi.dead_letters l JOIN {} p ON p.id = l.change_id LIMIT %s
"""


class Remover:
    """Drops months in one run, which is noted with who runs it.

    Args:
        location: The archive.
        who: Who drops them, as ``operator_context()`` returns it.

    Raises:
        ArchiveError: The role is not the owner of the log.
        BemiError: A setting is wrong, or it cannot be told what is held.
    """

    def __init__(self, location: Location, who: Mapping[str, Any]) -> None:
        self._location = location
        self._alias = conf.destination()
        self._rules = [rule for rule in of_settings(is_to_remove=True) if rule.held]
        with closed_cursor(self._alias) as cursor:
            cursor.execute(_IS_OWNER)
            if cursor.fetchone() != (True,):
                raise ArchiveError(
                    "only the owner of the log may drop its months: run the command as that role, or with "
                    "--keep"
                )
        self._run = begin(self._alias, who)

    def reason_to_keep(self, month: Month) -> str:
        """Return why a month has to stay in the log, or an empty text."""
        with closed_cursor(self._alias) as cursor:
            cursor.execute(_PARTITION, [month.start])
            return self._reason_to_keep(cursor, cursor.fetchone()[0])

    def watch(self, month: Month) -> str:
        """Note from now on who writes to a month, or return why that is not possible."""
        try:
            watch(self._alias, month.start, self._run)
        except Held:
            return _HELD_BY_OTHERS
        return ""

    def remove(self, manifest: Manifest) -> str:
        """Drop a month that was watched since before the archive was compared with it.

        Args:
            manifest: What the archive has.

        Returns:
            Why it was not dropped, or an empty text.

        Raises:
            ArchiveError: The log and the archive have different changes.
        """
        try:
            return patiently(lambda: self._removed(manifest))
        except Held:
            return _HELD_BY_OTHERS
        except Written:
            return "changes of it were written while it was archived; run the command again"

    def end(self, stopped: list[str]) -> None:
        """Note that the run is over, and why months were not dropped."""
        end(self._alias, self._run, stopped)

    def _removed(self, manifest: Manifest) -> str:
        """Drop the month, or return why it stays."""
        month = manifest.month
        with removing(self._alias) as cursor:
            cursor.execute(_PARTITION, [month.start])
            if reason := self._reason_to_keep(cursor, cursor.fetchone()[0]):
                return reason
            if drop(cursor, month.start, self._run) != manifest.changes:
                raise different(self._location, month)
        return ""

    def _reason_to_keep(self, cursor: Any, partition: str | None) -> str:
        if partition is None:
            return "it is not a partition of its own"
        # The driver looks for parameters in the name, too.
        partition = partition.replace("%", "%%")
        for rule in self._rules:
            if _has_changes_of(cursor, partition, rule):
                named = ".".join(filter(None, (rule.schema, rule.table))) or "all changes"
                return f"BEMI_LEGAL_HOLD holds {named}"
        cursor.execute(_INCOMPLETE.format(partition), [1])
        if cursor.fetchone() is not None:
            return (
                "_bemi.dead_letters has what is missing of some of its changes; run 'manage.py bemi "
                "retry-dead-letters' first"
            )
        handlers = waiting.waiting_handlers(self._alias)
        cursor.execute(_WAITING.format(partition), [waiting.as_json(handlers)])
        found = cursor.fetchone()
        return "" if found is None else waiting.explain(self._alias, handlers, found[0])


def _has_changes_of(cursor: Any, partition: str, rule: TableRule) -> bool:
    cursor.execute(_HELD.format(partition), [rule.table, rule.table, rule.schema, rule.schema])
    return bool(cursor.fetchone()[0])
