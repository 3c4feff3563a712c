"""Copies of values outside of the log: dead letters, and what handlers have set aside."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from bemi_django.erasure.contexts import ContextEraser
from bemi_django.log.lossless_json import dumps, loads
from bemi_django.log.places import Place
from bemi_django.retention.rules import as_json
from bemi_django.retention.table_rule import TableRule

_BY_CHANGE = "DELETE FROM _bemi.dead_letters WHERE change_id = ANY (%s::text[]::uuid[])"
# Letters of no change, or of one whose row is not known, can be of any row: of the transaction, or with a
# value in them.
_OF_ANY_ROW = """
NOT EXISTS (
    SELECT FROM {log} c WHERE c.id = l.change_id AND c.primary_key IS NOT NULL
        AND (c.before <> jsonb_build_object() OR c.after <> jsonb_build_object()))
"""
# A letter whose table is not known may be of any table.
_NOT_HELD = """
NOT EXISTS (
    SELECT FROM jsonb_to_recordset(%s::jsonb) h (schema text, "table" text)
    LEFT JOIN {log} c ON c.id = l.change_id
    WHERE coalesce(h."table" = coalesce(c."table", l.origin -> 'relation' ->> 2), true)
        AND coalesce(h.schema = coalesce(c.schema, l.origin -> 'relation' ->> 1), true))
"""
_BY_VALUE = """
DELETE FROM _bemi.dead_letters l WHERE {not_held} AND {of_any_row} AND EXISTS (
    SELECT FROM unnest(%s::text[]) v (value)
    WHERE position(convert_to(v.value, 'UTF8') IN l.message) > 0 OR position(v.value IN l.origin::text) > 0
        OR position(v.value IN l.reason) > 0)
"""
# A change that is in the log has a table.
_BY_POSITION = """
DELETE FROM _bemi.dead_letters l WHERE l.position = ANY (%s) AND {not_held} AND {of_any_row} AND NOT EXISTS (
    SELECT FROM {log} o WHERE o.id = l.change_id AND (o.database, o.schema, o."table") <> (%s, %s, %s))
"""
_NEIGHBOURS = """
SELECT l.id, l.origin ->> 'context' FROM _bemi.dead_letters l
WHERE l.change_id IS NOT NULL AND l.position = ANY (%s) AND l.origin ? 'context' AND {not_held} FOR UPDATE
"""
_CONTEXT = (
    "UPDATE _bemi.dead_letters SET origin = jsonb_set(origin, '{context}', to_jsonb(%s::text)) WHERE id = %s"
)
# The reasons hold messages of exceptions.
_UNDELIVERED = """
UPDATE _bemi.undelivered SET reason = 'erased'
WHERE change_id = ANY (%s::text[]::uuid[]) AND reason <> 'erased'
"""
# Differences that a verification has found are named by the keys of rows.
_FINDINGS = """
SELECT f.verification, f.name, f.result::text FROM _bemi.verified f
WHERE EXISTS (
    SELECT FROM unnest(%s::text[]) k (key) WHERE position(k.key IN f.result::text) > 0) FOR UPDATE
"""
_FINDING = "UPDATE _bemi.verified SET result = %s::jsonb WHERE (verification, name) = (%s, %s)"
# A run that was interrupted there compares the table again.
_PLACES = """
DELETE FROM _bemi.verified f
WHERE EXISTS (SELECT FROM unnest(%s::text[]) k (key) WHERE position(k.key IN f.place::text) > 0)
"""
#: A shorter text is in letters of others, too.
_TELLING = 8


def erase_copies_of(cursor: Any, ids: Sequence[str]) -> None:
    """Remove what dead letters and failed handlers have of changes.

    Args:
        cursor: A cursor of the log, with a closed search path.
        ids: The ids of the changes.
    """
    cursor.execute(_BY_CHANGE, [list(ids)])
    cursor.execute(_UNDELIVERED, [list(ids)])


def erase_letters_at(
    cursor: Any,
    log: str,
    place: Place,
    positions: Sequence[int],
    contexts: ContextEraser,
    statements: Collection[str],
    held: Sequence[TableRule],
) -> None:
    """Remove letters of transactions that can be of any row, and values from the contexts of the others.

    Args:
        cursor: A cursor of the log, with a closed search path.
        log: The name of the log, quoted.
        place: The table.
        positions: The positions of the transactions.
        contexts: Takes values out of contexts.
        statements: The statements that wrote them.
        held: Tables whose letters stay as they are.
    """
    rules = as_json(held)
    cursor.execute(_of_log(_BY_POSITION, log), [list(positions), rules, *place])
    cursor.execute(_of_log(_NEIGHBOURS, log), [list(positions), rules])
    for letter, context in cursor.fetchall():
        left = contexts.erased(context, statements)
        if left != context:
            cursor.execute(_CONTEXT, [left, letter])


def erase_letters_with(cursor: Any, log: str, values: Collection[str], held: Sequence[TableRule]) -> None:
    """Remove the letters that can be of any row, but of no held one, and have one of these values in them."""
    telling = sorted(value for value in values if len(value) >= _TELLING)
    cursor.execute(_of_log(_BY_VALUE, log), [as_json(held), telling])


def erase_findings_with(cursor: Any, keys: Collection[str]) -> None:
    """Remove keys from what verifications have found.

    Args:
        cursor: A cursor of the log, with a closed search path.
        keys: Keys that mean something.
    """
    eraser, printed = ContextEraser(keys), [dumps(key)[1:-1] for key in keys]
    cursor.execute(_PLACES, [printed])
    cursor.execute(_FINDINGS, [printed])
    for verification, name, result in cursor.fetchall():
        cursor.execute(_FINDING, [dumps(eraser.of_texts(loads(result))), verification, name])


def _of_log(statement: str, log: str) -> str:
    # The driver looks for parameters in the name, too.
    name = log.replace("%", "%%")
    return statement.format(
        log=name, of_any_row=_OF_ANY_ROW.format(log=name), not_held=_NOT_HELD.format(log=name)
    )
