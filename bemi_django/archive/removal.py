"""Drop a month from the log when the archive is proved to have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from bemi_django import conf
from bemi_django.archive.live_log import LiveLog
from bemi_django.archive.location import Location
from bemi_django.archive.manifest import Manifest
from bemi_django.archive.storing import require_equal
from bemi_django.exceptions import ArchiveError
from bemi_django.retention import waiting
from bemi_django.retention.months import Held, begin, drop, end, patiently
from bemi_django.retention.rules import TableRule, of_settings
from bemi_django.schema.search_path import closed_cursor

# Nobody waits for the command longer than that.
_BRIEFLY = "SET LOCAL lock_timeout = '100ms'"
_IS_OWNER = "SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class c WHERE c.oid = _bemi.log_v1()"
_PARTITION = "SELECT _bemi.month_v1(%s)::text"
# The month is over, so this keeps only those waiting that bring late changes.
_LOCK = "LOCK TABLE ONLY {} IN SHARE MODE"
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
        log: The log.
        location: The archive.
        who: Who drops them, as ``operator_context()`` returns it.

    Raises:
        ArchiveError: The role is not the owner of the log.
    """

    def __init__(self, log: LiveLog, location: Location, who: Mapping[str, Any]) -> None:
        self._log = log
        self._location = location
        self._alias = conf.destination()
        self._rules = [rule for rule in of_settings() if rule.held]
        #: Why months were not dropped.
        self.stopped: list[str] = []
        with closed_cursor(self._alias) as cursor:
            cursor.execute(_IS_OWNER)
            if cursor.fetchone() != (True,):
                raise ArchiveError(
                    "only the owner of the log may drop its months: run the command as that role, or with "
                    "--keep"
                )
        self._run = begin(self._alias, who)

    def remove(self, manifest: Manifest) -> bool:
        """Drop a month, in one transaction with the proof that the archive has exactly its changes.

        Args:
            manifest: What the archive has; its files were compared.

        Returns:
            False if something has to be kept; :attr:`stopped` then says what.

        Raises:
            ArchiveError: The log and the archive have different changes.
        """
        try:
            reason = patiently(lambda: self._removed(manifest))
        except Held:
            reason = "another session uses it; run the command again"
        if reason:
            self.stopped.append(f"{manifest.month} stays in the log: {reason}")
        return not reason

    def end(self) -> None:
        """Note that the run is over."""
        end(self._alias, self._run, self.stopped)

    def _removed(self, manifest: Manifest) -> str:
        """Drop the month, or return why it stays."""
        start = manifest.month.start
        with transaction.atomic(using=self._alias), closed_cursor(self._alias) as cursor:
            cursor.execute(_BRIEFLY)
            cursor.execute(_PARTITION, [start])
            (partition,) = cursor.fetchone()
            if partition is None:
                return "it is not a partition of its own"
            cursor.execute(_LOCK.format(partition))
            # The driver looks for parameters in the name, too.
            partition = partition.replace("%", "%%")
            if reason := self._reason_to_keep(cursor, partition):
                return reason
            # Read over another connection, which sees what is committed: all that is there now.
            require_equal(self._log, self._location, manifest)
            drop(self._alias, start, self._run)
        return ""

    def _reason_to_keep(self, cursor: Any, partition: str) -> str:
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
