"""Write rows through jsonb, so that every type is restored exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from bemi_django.capture.context import bound_context
from bemi_django.log.live.live_rows import equal
from bemi_django.log.live.live_tables import (
    ADDRESS,
    LiveCatalog,
    LiveTable,
    Reference,
    RowValues,
    escaped,
    listed,
    quoted,
    record,
)
from bemi_django.log.lossless_json import dumps
from bemi_django.revert.draft import Draft
from bemi_django.revert.net import differ
from bemi_django.revert.order import Order
from bemi_django.schema.sql import quote

_FORWARD = """
SELECT pg_catalog.setval(%s::pg_catalog.text::pg_catalog.regclass, wanted.value)
FROM (SELECT (%s)::pg_catalog.int8 AS value) wanted, {} s, pg_catalog.pg_sequence p
WHERE p.seqrelid OPERATOR(pg_catalog.=) %s::pg_catalog.text::pg_catalog.regclass
  AND CASE WHEN p.seqincrement OPERATOR(pg_catalog.>) 0
      THEN wanted.value OPERATOR(pg_catalog.>) s.last_value
      ELSE wanted.value OPERATOR(pg_catalog.<) s.last_value END
  AND wanted.value OPERATOR(pg_catalog.>=) p.seqmin AND wanted.value OPERATOR(pg_catalog.<=) p.seqmax
"""


class Write(NamedTuple):
    """One statement of a step; ``key`` is the row's key at the time it runs.

    ``whole`` is the row, if another one may have its key meanwhile.
    """

    draft: Draft
    action: str
    values: RowValues
    key: RowValues
    whole: RowValues | None = None


PassedOn = Callable[[Draft], Iterable[tuple[Reference, Draft]]]


def writes_of(ordered: Order[Draft], passed_on: PassedOn) -> list[Write]:
    """Return the statements of the steps; where a cycle was broken, a reference is NULL for a while.

    Args:
        ordered: The steps in their order.
        passed_on: Returns the steps whose rows the database changes along with that of a step.
    """
    early: dict[Draft, set[str]] = {}
    late: dict[Draft, set[str]] = {}
    for edge in ordered.broken:
        where = early if edge.writer is edge.first else late
        where.setdefault(edge.writer, set()).update(edge.breakable)
    writes = [
        Write(
            draft,
            "update",
            dict.fromkeys(sorted(columns)),
            _key_of(draft, draft.live or {}),
            _whole(draft, draft.live),
        )
        for draft, columns in early.items()
    ]
    waiting = {draft: draft.live for draft in ordered.nodes}
    for draft in ordered.nodes:
        live = waiting.pop(draft)
        columns = late.get(draft, set())
        values = {column: None if column in columns else value for column, value in draft.step.values.items()}
        key = _key_of(draft, live) if live is not None else {}
        if draft.step.action != "delete":
            values |= draft.rules.values(draft.live or {**draft.net.last, **draft.net.old})
        whole = None if draft in early or draft.step.action == "insert" else _whole(draft, live)
        writes.append(Write(draft, draft.step.action, values, key, whole))
        if live is not None and draft.step.action == "update":
            _pass_on(draft, {**live, **values}, waiting, passed_on)
    for draft, columns in late.items():
        values = {column: draft.step.values[column] for column in columns if column in draft.step.values}
        writes.append(Write(draft, "update", values, _key_of(draft, draft.target or {})))
    return writes


def _key_of(draft: Draft, row: RowValues) -> RowValues:
    return {column: row[column] for column in draft.table.key}


def _whole(draft: Draft, live: RowValues | None) -> RowValues | None:
    primary = draft.table.primary
    return live if primary is not None and primary.is_deferrable else None


def _pass_on(
    parent: Draft, row: RowValues, waiting: dict[Draft, RowValues | None], passed_on: PassedOn
) -> None:
    """Give rows that are not written yet what the database gives them when their parent has become a row."""
    for reference, child in passed_on(parent):
        old = waiting.get(child)
        if old is None:
            continue
        given = {
            column: row[there]
            for column, there in zip(reference.columns, reference.parent_columns, strict=True)
        }
        if any(differ(old[column], value) for column, value in given.items()):
            waiting[child] = {**old, **given}
            _pass_on(child, {**old, **given}, waiting, passed_on)


def run(cursor: Any, write: Write) -> None:
    """Run one statement in a context that names the changes it reverts.

    Raises:
        LookupError: The statement wrote no row, although there was no error.
    """
    table = write.draft.table
    statement = {"insert": _insert, "update": _update, "delete": _delete}[write.action](table, write.values)
    rows = {"insert": [write.values], "update": [write.values, write.key], "delete": [write.key]}[
        write.action
    ]
    parameters = [dumps(table.readable(row)) for row in rows]
    if write.whole is not None:
        statement += " AND pg_catalog.to_jsonb(t.*) OPERATOR(pg_catalog.=) %s::pg_catalog.jsonb"
        parameters.append(dumps(write.whole))
    with bound_context(reverts=[str(change.pk) for change in write.draft.step.changes]):
        cursor.execute(statement, parameters)
    if cursor.rowcount != 1:
        raise LookupError(_("a trigger or a policy of the table prevented the write"))


def _insert(table: LiveTable, values: Mapping[str, Any]) -> str:
    columns = ", ".join(map(escaped, values))
    return (
        f"INSERT INTO {quoted(table.name)} ({columns}) OVERRIDING SYSTEM VALUE "  # noqa: S608 - quoted
        f"SELECT {listed(values, 'r')} FROM {_record(table, 'r')}"
    )


def _update(table: LiveTable, values: Mapping[str, Any]) -> str:
    assignments = ", ".join(f"{escaped(column)} = r.{escaped(column)}" for column in values)
    return (
        f"UPDATE {quoted(table.name)} t SET {assignments} "  # noqa: S608 - quoted
        f"FROM {_record(table, 'r')}, {_key(table)}"
    )


def _delete(table: LiveTable, values: Mapping[str, Any]) -> str:
    return f"DELETE FROM {quoted(table.name)} t USING {_key(table)}"  # noqa: S608 - quoted


def _record(table: LiveTable, alias: str) -> str:
    return record(table, "%s::pg_catalog.jsonb", alias)


def _key(table: LiveTable) -> str:
    """Return the FROM and WHERE that find the row ``t`` by the key passed as a parameter."""
    if table.primary is None:
        relation, ctid = ADDRESS
        return (
            "pg_catalog.jsonb_to_record(%s::pg_catalog.jsonb) "
            f"k ({relation} pg_catalog.oid, {ctid} pg_catalog.tid) "
            f"WHERE t.tableoid OPERATOR(pg_catalog.=) k.{relation} AND t.ctid OPERATOR(pg_catalog.=) k.{ctid}"
        )
    return f"{_record(table, 'k')} WHERE {equal(table.primary.equalities, 't', table.key, 'k', table.key)}"


def defer(cursor: Any, catalog: LiveCatalog) -> None:
    """Defer all deferrable constraints, so that the order of statements does not matter to them."""
    _constraints(cursor, catalog.deferrable(), "DEFERRED")


def settle(cursor: Any, catalog: LiveCatalog) -> None:
    """Check the deferred constraints now, then restore their modes for the rest of the transaction."""
    constraints = catalog.deferrable()
    _constraints(cursor, constraints, "IMMEDIATE")
    _constraints(cursor, [one for one in constraints if one[2]], "DEFERRED")


def _constraints(cursor: Any, constraints: Sequence[tuple[str, str, bool]], mode: str) -> None:
    names = {f"{quote(schema)}.{quote(name)}" for schema, name, _ in constraints}
    if names:
        cursor.execute(f"SET CONSTRAINTS {', '.join(sorted(names))} {mode}")


def move_sequences(cursor: Any, drafts: Sequence[Draft]) -> None:
    """Move sequences past the restored keys, never backwards."""
    highest: dict[str, list[int]] = {}
    for draft in drafts:
        for column, sequence in draft.table.sequences.items():
            value = draft.step.values.get(column) if draft.step.action == "insert" else None
            if isinstance(value, int):
                highest.setdefault(sequence, []).append(value)
    for sequence, values in highest.items():
        for value in {min(values), max(values)}:
            cursor.execute(_FORWARD.format(sequence.replace("%", "%%")), [sequence, value, sequence])
