"""Read changes by the ranges of ids that transactions have: a limited number of each, with one query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import DateTimeField, Func, UUIDField

from bemi_django.admin.display.actions.action import ChangeKind, CountedChanges, TransactionName
from bemi_django.admin.display.site_time import shifted
from bemi_django.admin.search.change_reader import read_with
from bemi_django.admin.search.list_order import ids_of_transaction
from bemi_django.admin.search.query_plans import no_seqscan
from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change

#: Changes of a transaction are counted up to this number.
MOST_COUNTED = 1000

_SPANS = """
SELECT {columns} FROM ROWS FROM (
    pg_catalog.unnest(%s::pg_catalog.int8[]), pg_catalog.unnest(%s::pg_catalog.uuid[]),
    pg_catalog.unnest(%s::pg_catalog.uuid[]), pg_catalog.unnest(%s::pg_catalog.timestamptz[]),
    pg_catalog.unnest(%s::pg_catalog.timestamptz[])) AS _bemi_span (sequence, first, last, earliest, latest)
CROSS JOIN LATERAL ({query}) AS _bemi_found {end}
"""
_COUNTED = 'database, transaction_id, schema, "table", operation'
# Byte by byte, which takes half the time. A row whose key changed would be counted under each of its keys.
_ROWS = """CASE WHEN pg_catalog.count(previous_primary_key) OPERATOR(pg_catalog.=) 0 THEN
    pg_catalog.count(DISTINCT COALESCE(primary_key, id::pg_catalog.text) COLLATE pg_catalog."C") END"""
# A naive moment can mean either of two hours.
_MARGIN = timedelta(days=1)


class Span(NamedTuple):
    """The changes of a transaction: its sequence number, and when the ones that were seen were committed."""

    sequence: int
    earliest: datetime
    latest: datetime


def rows_of(spans: Sequence[Span], changes: ChangeQuerySet, most: int) -> list[Change]:
    """Return the first changes of each transaction, in commit order.

    Args:
        spans: The transactions.
        changes: The changes that may be returned.
        most: The number of changes of each transaction.
    """

    def read(given: ChangeQuerySet) -> list[Change]:
        inner, parameters = _compiled(_within(given)[:most])
        statement = _SPANS.format(columns="_bemi_found.*", query=inner, end="ORDER BY _bemi_found.id")
        with no_seqscan():
            return list(Change.objects.using(given.db).raw(statement, [*_parameters(spans), *parameters]))

    return read_with(read, changes) if spans else []


def counts_of(spans: Sequence[Span], changes: ChangeQuerySet) -> dict[TransactionName, CountedChanges]:
    """Return how many changes of each kind each transaction has, up to one more than ``MOST_COUNTED``.

    Args:
        spans: The transactions.
        changes: The changes that are counted.
    """
    if not spans:
        return {}
    of_kind = ("database", "transaction_id", "schema", "table", "operation")
    columns = (*of_kind, "primary_key", "previous_primary_key", "id")
    inner, parameters = _compiled(_within(changes).values_list(*columns)[: MOST_COUNTED + 1])
    statement = _SPANS.format(
        columns=f"sequence, {_COUNTED}, pg_catalog.count(*), {_ROWS}",
        query=inner,
        end=f"GROUP BY sequence, {_COUNTED} ORDER BY pg_catalog.count(*) DESC, {_COUNTED}",
    )
    with no_seqscan(), connections[changes.db].cursor() as cursor:
        cursor.execute(statement, [*_parameters(spans), *parameters])
        rows = cursor.fetchall()
    found: dict[TransactionName, CountedChanges] = {}
    for sequence, database, transaction_id, schema, table, operation, count, distinct in rows:
        name = TransactionName(sequence, database, transaction_id)
        counted = found.setdefault(name, CountedChanges(Counter(), Counter()))
        kind = ChangeKind(database, schema, table, operation)
        counted.changes[kind] = count
        if distinct is not None:
            counted.rows[kind] = distinct
    return found


def _within(changes: ChangeQuerySet) -> ChangeQuerySet:
    """Return the changes of the span at hand."""
    return changes.filter(
        id__gte=_column("first", UUIDField()),
        id__lte=_column("last", UUIDField()),
        # They need no other partition than these.
        committed_at__gte=_column("earliest", DateTimeField()),
        committed_at__lte=_column("latest", DateTimeField()),
    ).order_by("id")


def _column(name: str, field: Any) -> Func:
    return Func(function=name, template="_bemi_span.%(function)s", output_field=field)


def _compiled(changes: Any) -> tuple[str, tuple[Any, ...]]:
    statement, parameters = changes.query.get_compiler(changes.db).as_sql()
    return statement, tuple(parameters)


def _parameters(spans: Sequence[Span]) -> list[list[Any]]:
    ends = [ids_of_transaction(span.sequence) for span in spans]
    return [
        [span.sequence for span in spans],
        [str(first) for first, _last in ends],
        [str(last) for _first, last in ends],
        [shifted(span.earliest, -_MARGIN) for span in spans],
        [shifted(span.latest, _MARGIN) for span in spans],
    ]
