"""Compare one table with its log, in one snapshot."""

from __future__ import annotations

from contextlib import closing
from typing import Any, NamedTuple

from psycopg2 import DataError
from psycopg2.sql import Composable

from bemi_django.verification import log_queries, table_queries
from bemi_django.verification.compared_table import ComparedTable
from bemi_django.verification.moment import Moment
from bemi_django.verification.result import Verified
from bemi_django.verification.streams import merge, stream

#: Rows that are looked at closer in one query.
_BATCH = 1000


class Comparison(NamedTuple):
    """Both connections, and the moment that they show.

    The log begins with the transaction id ``start_xid``; ``earlier`` is the last id of earlier servers.
    """

    source: Any
    destination: Any
    moment: Moment
    start_xid: int
    earlier: str


def compare(comparison: Comparison, table: ComparedTable) -> Verified:
    """Return how a table and its log agree: by key where the table has one, else by equal rows."""
    result = by_key(comparison, table) if table.key else by_image(comparison, table)
    with comparison.destination.cursor() as cursor:
        cursor.execute(_of_log(comparison, log_queries.SKIPPED), _parameters(comparison, table))
        (result.skipped,) = cursor.fetchone()
    return result


def by_key(comparison: Comparison, table: ComparedTable) -> Verified:
    """Compare each row with the last entry that the log has of its key."""
    result = Verified(str(table))
    mismatches: list[_Mismatch] = []
    last_entries = _of_log(comparison, log_queries.LAST_BY_KEY)
    live_rows = table_queries.rows_by_key(table, _is_old(comparison, table))
    with (
        closing(stream(comparison.destination, last_entries, _parameters(comparison, table))) as log,
        closing(stream(comparison.source, live_rows)) as live,
    ):
        for key, logged, found in merge(log, live):
            result.rows += found is not None
            if logged is None:
                if found[1]:
                    result.older += 1
                else:
                    result.missing.append(key)
            elif logged[0] != (found[0] if found else None):
                mismatches.append(_Mismatch(key, logged[0], found[0] if found else None))
                if len(mismatches) == _BATCH:
                    _look_closer(comparison, result, table, mismatches)
                    mismatches = []
    _look_closer(comparison, result, table, mismatches)
    return result


def by_image(comparison: Comparison, table: ComparedTable) -> Verified:
    """Compare how often the log and the table have each row, for a table without a key."""
    result = Verified(str(table))
    logged_rows = _of_log(comparison, log_queries.COUNTED_BY_IMAGE)
    live_rows = table_queries.rows_by_image(table, _is_old(comparison, table))
    with (
        closing(stream(comparison.destination, logged_rows, _parameters(comparison, table))) as log,
        closing(stream(comparison.source, live_rows)) as live,
    ):
        for image, logged, found in merge(log, live):
            left, ever = logged or (0, 0)
            total, new = found or (0, 0)
            result.rows += total
            result.older += total - new
            # Nobody can tell which of two equal rows was deleted: it may have been the older one.
            result.extra += [image] * max(left - total, 0)
            result.missing += [image] * max(new - (ever or 0), 0)
    return result


def _of_log(comparison: Comparison, query: str) -> str:
    return query.format(log=comparison.destination.log.replace("%", "%%"))


class _Mismatch(NamedTuple):
    """The last entry of a key and the row of the table, as JSON text; None for a row that is not there."""

    key: str
    logged: str | None
    found: str | None


def _look_closer(
    comparison: Comparison, result: Verified, table: ComparedTable, mismatches: list[_Mismatch]
) -> None:
    """Note the rows that really differ: most texts differ because the table was altered since."""
    pairs = [(one.logged, one.found) for one in mismatches if one.logged and one.found]
    differing = iter(_differing(comparison, table, pairs))
    for one in mismatches:
        if not (one.logged and one.found) or next(differing):
            _note_mismatch(comparison, result, table, one)


def _note_mismatch(
    comparison: Comparison, result: Verified, table: ComparedTable, mismatch: _Mismatch
) -> None:
    """Note a difference, unless rows have exchanged their keys in one statement."""
    key, _, found = mismatch
    logged = _last_image(comparison, table, key)
    if logged is None and found is not None:
        result.missing.append(key)
    elif logged is not None and found is None:
        result.extra.append(key)
    elif logged is not None and found is not None:
        (columns,) = _differing(comparison, table, [(logged, found)])
        if columns:
            result.different.append(f"{key}: {', '.join(columns)}")


def _last_image(comparison: Comparison, table: ComparedTable, key: str) -> str | None:
    """Return the row that is left when each change of the key has removed one image and added another."""
    images: list[str] = []
    with comparison.destination.cursor() as cursor:
        cursor.execute(
            _of_log(comparison, log_queries.HISTORY_OF_KEY), {**_parameters(comparison, table), "key": key}
        )
        for before, after in cursor.fetchall():
            if before in images:
                images.remove(before)
            if after is not None:
                images.append(after)
    return images[-1] if images else None


def _differing(comparison: Comparison, table: ComparedTable, pairs: list[tuple[str, str]]) -> list[list[str]]:
    """Return the columns whose values differ, for each pair of a row of the log and one of the table."""
    if not pairs:
        return []
    sides = [list(side) for side in zip(*pairs, strict=True)]
    with comparison.source.cursor() as cursor:
        cursor.execute("SAVEPOINT pairs")
        try:
            cursor.execute(table_queries.differing_columns(table), sides)
            return [columns for (columns,) in cursor.fetchall()]
        except DataError:
            # A value of the log is none of the column's present type.
            cursor.execute("ROLLBACK TO SAVEPOINT pairs")
    if len(pairs) == 1:
        return [["a value that is not of the present type"]]
    middle = len(pairs) // 2
    return _differing(comparison, table, pairs[:middle]) + _differing(comparison, table, pairs[middle:])


def _is_old(comparison: Comparison, table: ComparedTable) -> Composable:
    return table_queries.is_older_than_log(table, comparison.start_xid)


def _parameters(comparison: Comparison, table: ComparedTable) -> dict[str, str]:
    return {
        "database": comparison.moment.database,
        "schema": table.schema,
        "table": table.name,
        "snapshot": comparison.moment.snapshot,
        "earlier": comparison.earlier,
    }
