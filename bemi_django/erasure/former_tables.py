"""The changes of an object from before its tables were renamed, as far as it is certain that they are of it.

The database knows from where to where in its WAL a table had a name. While another table has the name now, a
row of that one could be meant, so nothing is followed there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from uuid import UUID

from bemi_django import conf
from bemi_django.erasure.targets.held_values import During
from bemi_django.erasure.targets.moved_rows import MovedRows
from bemi_django.erasure.targets.target import Target, is_text
from bemi_django.log.conditions import in_table
from bemi_django.log.identity import KeySpan, spans_of_last
from bemi_django.log.object_changes import TableLog
from bemi_django.log.places import Place
from bemi_django.models import Change
from bemi_django.retention.former_names import may_read_names
from bemi_django.schema.replication.slots import slot_of
from bemi_django.schema.search_path import closed_cursor

# Numbers mean other tables on a server that the database was copied from. A transaction that takes a name
# from another table may have changed that one before: its changes are not certain. Those of one that gives a
# name up are, unless another table takes it there.
_TIMES = """
WITH known AS (
    SELECT r.relation, r.description -> 'name' AS name, r.description -> 'root' AS root, r.since,
           r.since_xid::text::bigint AS xid, r.ended
    FROM _bemi.relations r JOIN pg_control_system() s ON s.system_identifier = r.system
),
versions AS (
    SELECT k.*, least(k.ended, lead(k.since) OVER times) AS until,
           lag(k.name) OVER times IS DISTINCT FROM k.name AS is_taken,
           CASE WHEN k.ended IS NULL AND lead(k.name) OVER times <> k.name
                THEN lead(k.xid) OVER times END AS leaving
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN known k ON k.relation = c.oid
    WHERE n.nspname = %(schema)s AND c.relname = %(table)s
    WINDOW times AS (ORDER BY k.since)
)
SELECT v.name ->> 0, v.name ->> 1, v.since::text, v.until::text,
       CASE WHEN v.is_taken AND EXISTS (
           SELECT FROM known o WHERE o.name = v.name AND o.relation <> v.relation AND o.since < v.since
       ) THEN v.xid END,
       CASE WHEN NOT EXISTS (
           SELECT FROM known o WHERE o.name = v.name AND o.relation <> v.relation AND o.xid = v.leaving
       ) THEN v.leaving END
FROM versions v
WHERE v.root = v.name AND v.until IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = v.name ->> 0 AND c.relname = v.name ->> 1)
ORDER BY v.since DESC
"""
_BOUNDS = """
SELECT _bemi.bound_v1(_bemi.sequence_v1(%(slot)s::text, %(since)s::pg_lsn))::text,
       _bemi.bound_v1(_bemi.sequence_v1(%(slot)s::text, %(until)s::pg_lsn))::text
"""
_END = UUID(int=2**128 - 1)


class FormerTime(NamedTuple):
    """A time in which a table had another name: after the id ``start``, and before ``end``."""

    place: Place
    start: UUID
    end: UUID

    @property
    def log(self) -> Any:
        """The changes of the table in that time."""
        changes = Change.objects.using(conf.destination()).filter(in_table(self.place))
        return changes.filter(pk__gt=self.start, pk__lt=self.end)

    def last_of(self, xid: int) -> UUID | None:
        """Return the id of the last change of a transaction in that time; None if it has none."""
        changes = self.log.filter(transaction_id=xid).order_by("-pk")
        found: UUID | None = changes.values_list("pk", flat=True).first()
        return found

    def bounded(self, span: KeySpan) -> KeySpan:
        """Return a span, as far as it is in the time."""
        end = self.end if span.end is None else span.end
        return (
            span._replace(end=end) if span.start else span._replace(start=self.start, end=end, is_open=True)
        )

    def during(self, target: Target) -> tuple[During, ...]:
        """Return the values of a target, in the time."""
        always = (During(values) for values in target.values)
        return tuple(
            each._replace(
                start=max(each.start or self.start, self.start), end=min(each.end or self.end, self.end)
            )
            for each in (*always, *target.during)
        )


def with_former_tables(targets: Iterable[Target], alias: str) -> list[Target]:
    """Return targets, and the changes of their rows under former names of their tables.

    Args:
        targets: The changes that are known to be of an object.
        alias: Alias of the database of the tables.
    """
    own, found = list(targets), dict[Place, Target]()
    for target in own:
        keys = {span.key for span in target.spans if span.start is None}
        for time in _times(target.place, alias):
            spans = [span for key in sorted(keys) for span in spans_of_last(_rows(time, target), key)]
            # What it was called before that is asked for the keys that it had then, and for no others.
            keys = {span.key for span in spans if span.start is None}
            former = _former(target, time, spans)
            if time.log.filter(former.condition).exists():
                known = found.get(time.place)
                found[time.place] = former if known is None else known.joined(former)
    return [*own, *found.values()]


def _former(target: Target, time: FormerTime, spans: list[KeySpan]) -> Target:
    own = dict.fromkeys(span.key for span in spans)
    texts = [key for key in own if is_text(time.log, target.key, key)]
    return target._replace(
        place=time.place,
        spans=tuple(map(time.bounded, spans)),
        values=(),
        during=time.during(target),
        halves=(),
        texts=tuple(dict.fromkeys((*target.texts, *texts))),
        reasons=(*target.reasons, f"a former name of {target.name}"),
        present=target.present or target.place,
    )


def _rows(time: FormerTime, target: Target) -> MovedRows:
    return MovedRows(TableLog(time.log), target.key)


def _times(place: Place, alias: str) -> Iterator[FormerTime]:
    """Yield the times in which a table had other names, the latest first."""
    with closed_cursor(alias) as cursor:
        if not may_read_names(cursor):
            return
        cursor.execute(_TIMES, {"schema": place.schema, "table": place.table})
        found = cursor.fetchall()
    slot = slot_of(alias) if found else ""
    for schema, table, since, until, taking, leaving in found:
        with closed_cursor(conf.destination()) as cursor:
            cursor.execute(_BOUNDS, {"slot": slot, "since": since, "until": until})
            start, end = map(UUID, cursor.fetchone())
        time = FormerTime(Place(place.database, schema, table), start, end)
        if taking is not None and (uncertain := time.last_of(taking)) is not None:
            time = time._replace(start=uncertain)
        if leaving is not None and (last := time._replace(end=_END).last_of(leaving)) is not None:
            time = time._replace(end=UUID(int=last.int + 1))
        yield time
