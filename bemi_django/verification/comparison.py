"""Compare one table with its log, in one snapshot."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson
from psycopg2.sql import Composable

from bemi_django.verification import log_queries, table_queries
from bemi_django.verification.compared_table import ComparedTable
from bemi_django.verification.moment import Moment
from bemi_django.verification.result import Verified
from bemi_django.verification.streams import merge, stream


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
    log = stream(
        comparison.destination, _of_log(comparison, log_queries.LAST_BY_KEY), _parameters(comparison, table)
    )
    live = stream(comparison.source, table_queries.rows_by_key(table, _is_old(comparison, table)))
    for key, logged, found in merge(log, live):
        result.rows += found is not None
        if logged is None:
            if found[1]:
                result.older += 1
            else:
                result.missing.append(key)
        elif logged[0] != (found[0] if found else None):
            _note_mismatch(comparison, result, table, key, found[0] if found else None)
    return result


def by_image(comparison: Comparison, table: ComparedTable) -> Verified:
    """Compare how often the log and the table have each row, for a table without a key."""
    result = Verified(str(table))
    log = stream(
        comparison.destination,
        _of_log(comparison, log_queries.COUNTED_BY_IMAGE),
        _parameters(comparison, table),
    )
    live = stream(comparison.source, table_queries.rows_by_image(table, _is_old(comparison, table)))
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


def _note_mismatch(
    comparison: Comparison, result: Verified, table: ComparedTable, key: str, found: str | None
) -> None:
    """Look closer: the table may have been altered, or rows may have exchanged their keys."""
    logged = _last_image(comparison, table, key)
    if logged is None and found is not None:
        result.missing.append(key)
    elif logged is not None and found is None:
        result.extra.append(key)
    elif logged is not None and found is not None:
        columns = _differing(comparison, table, logged, found)
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


def _differing(comparison: Comparison, table: ComparedTable, logged: str, found: str) -> list[str]:
    """Return the columns whose values differ when the log's row is read with the table's types of now."""
    with comparison.source.cursor() as cursor:
        cursor.execute(table_queries.as_defined_now(table), [logged])
        converted = orjson.loads(cursor.fetchone()[0])
    live = orjson.loads(found)
    return [name for name in orjson.loads(logged) if name in live and live[name] != converted[name]]


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
