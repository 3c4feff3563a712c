"""What is noted of erasures: the ones that are not over, and rows of the log that say what was erased."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from bemi_django.erasure.targets.target import Target
from bemi_django.erasure.targets.target_json import as_json, from_json
from bemi_django.handlers.log_history import LogHistory
from bemi_django.log.places import Place
from bemi_django.seals.records import note_changed_rows
from bemi_django.wire.ids import change_id, sequence_in, source_in, source_of
from bemi_django.wire.sequence import lsn_of

_FIND = """
SELECT id, plan::text FROM _bemi.erasures WHERE ended_at IS NULL AND asked = %s::jsonb ORDER BY id LIMIT 1
"""
# The log no longer says that a row had this key when the changes of the key are hashed.
_FIND_BY_KEY = """
SELECT id, plan::text FROM _bemi.erasures
WHERE ended_at IS NULL AND asked -> 'related' = %s::jsonb AND plan #> '{targets,0,place}' = %s::jsonb
    AND EXISTS (SELECT FROM jsonb_array_elements(plan #> '{targets,0,spans}') s WHERE s ->> 'key' = %s)
ORDER BY id
"""
_BEGIN = "INSERT INTO _bemi.erasures (asked, plan, who) VALUES (%s, %s, %s) RETURNING id"
_END = "UPDATE _bemi.erasures SET asked = NULL, plan = NULL, ended_at = clock_timestamp() WHERE id = %s"
_COUNT = """
INSERT INTO _bemi.erased AS e (erasure, database, schema, "table", key, changes, columns)
SELECT %s, %s, %s, %s, n.key, n.changes, ARRAY(SELECT jsonb_array_elements_text(n.columns))
FROM unnest(%s::text[], %s::bigint[], %s::text[]::jsonb[]) n (key, changes, columns)
ON CONFLICT (erasure, database, schema, "table", key) DO UPDATE SET changes = e.changes + excluded.changes,
    columns = ARRAY(SELECT unnest(e.columns) UNION SELECT unnest(excluded.columns) ORDER BY 1)
"""
_COUNTED = """
SELECT e.number, e.database, e.schema, e."table", e.key, e.changes, to_jsonb(e.columns)::text
FROM _bemi.erased e WHERE e.erasure = %s ORDER BY e.number
"""
_NOTE_KEYS = """
UPDATE _bemi.erasures SET who = who || jsonb_build_object('keys', coalesce((who ->> 'keys')::int, 0) + %s)
WHERE id = %s
"""
_WHO = "SELECT who::text FROM _bemi.erasures WHERE id = %s"
_LAST = "SELECT id::text, position FROM {log} WHERE database = %s AND NOT diverged ORDER BY id DESC LIMIT 1"
_PARTITION = "SELECT _bemi.partition_v1(clock_timestamp())"
_RECORD = """
INSERT INTO {log} (id, database, schema, "table", primary_key, operation, context, committed_at, queued_at,
                   transaction_id, position)
VALUES (%s, %s, %s, %s, %s, 'ERASED', %s, clock_timestamp(), clock_timestamp(), 0, %s)
"""
_ADD_ACTIVITY = "SELECT _bemi.count_changes_v1(%s::text[]::uuid[], false)"
#: No transaction has so many changes, so records come after all of a commit.
_ORDINALS = 1 << 31


class Erasure(NamedTuple):
    """An erasure that is not over: its number, the changes, and the values to look for elsewhere."""

    number: int
    targets: list[Target]
    values: set[str]


class ErasedRow(NamedTuple):
    """What was erased of a row: the number of its changes, and the columns."""

    table: str
    key: str | None
    changes: int
    columns: list[str]


def find(cursor: Any, asked: Mapping[str, Any]) -> Erasure | None:
    """Return the erasure of the same object that was interrupted, or None."""
    cursor.execute(_FIND, [json.dumps(asked)])
    found = cursor.fetchone()
    return None if found is None else _erasure(*found)


def find_by_key(cursor: Any, place: Place, key: str, related: Sequence[str] | None) -> Iterator[Erasure]:
    """Yield the erasures that were interrupted, of rows of a table that have had a key.

    Args:
        cursor: A cursor of the log, with a closed search path.
        place: The table.
        key: The key.
        related: What the command was given for related rows.
    """
    cursor.execute(_FIND_BY_KEY, [json.dumps(related), json.dumps(place), key])
    for number, plan in cursor.fetchall():
        yield _erasure(number, plan)


def _erasure(number: int, text: str) -> Erasure:
    plan = json.loads(text)
    return Erasure(number, from_json(plan["targets"]), set(plan["values"]))


def begin(
    cursor: Any, asked: Mapping[str, Any], who: Mapping[str, Any], targets: Sequence[Target], values: set[str]
) -> Erasure:
    """Note an erasure with all that is needed to go on with it if it is interrupted.

    Args:
        cursor: A cursor of the log, with a closed search path.
        asked: What it is to do.
        who: Who does it, and why.
        targets: The changes.
        values: The values to look for elsewhere.
    """
    plan = {"targets": as_json(targets), "values": sorted(values)}
    cursor.execute(_BEGIN, [json.dumps(asked), json.dumps(plan), json.dumps(dict(who))])
    return Erasure(cursor.fetchone()[0], list(targets), values)


def note_keys(cursor: Any, erasure: Erasure, number: int, key: str | None) -> None:
    """Note how many keys were deleted with which values were encrypted, so that the record says it.

    Args:
        cursor: A cursor of the log, with a closed search path.
        erasure: The erasure.
        number: How many there were.
        key: The key of the row that the erasure is about, as the log is to have it.
    """
    if number:
        cursor.execute(_NOTE_KEYS, [number, erasure.number])
        count(cursor, erasure.number, erasure.targets[0], {key or "": (0, set())})


def count(cursor: Any, erasure: int, target: Target, rows: Mapping[str, tuple[int, set[str]]]) -> None:
    """Add to the number of erased changes, by the key of their row: the changes and the columns."""
    if rows:
        counts = [
            list(rows),
            [changes for changes, _ in rows.values()],
            [json.dumps(sorted(columns)) for _, columns in rows.values()],
        ]
        cursor.execute(_COUNT, [erasure, *target.place, *counts])


def end(cursor: Any, log: str, erasure: int, history: LogHistory | None = None) -> Iterator[ErasedRow]:
    """Write to the log what was erased, a change with the operation ERASED for each row, and forget the plan.

    Args:
        cursor: A cursor of the log, with a closed search path.
        log: The name of the log, quoted.
        erasure: The number of the erasure.
        history: The log of the source, if its worker has ever run: all changes may be in the archive.

    Yields:
        What was erased of each row.
    """
    name, log = log, log.replace("%", "%%")
    written: list[UUID] = []
    cursor.execute(_PARTITION)
    cursor.execute(_WHO, [erasure])
    who = json.loads(cursor.fetchone()[0])
    cursor.execute(_COUNTED, [erasure])
    for number, database, schema, table, key, changes, columns in cursor.fetchall():
        erased = ErasedRow(f"{schema}.{table}", key or None, changes, json.loads(columns))
        cursor.execute(_LAST.format(log=log), [database])
        sequence, source, position = _place(cursor.fetchone(), database, history)
        made = UUID(bytes=change_id(sequence, _ORDINALS | number % _ORDINALS, source))
        context = {**who, "erasure": erasure, "changes": changes, "columns": erased.columns}
        cursor.execute(
            _RECORD.format(log=log),
            [str(made), database, schema, table, erased.key, json.dumps(context), position],
        )
        written.append(made)
        yield erased
    cursor.execute(_ADD_ACTIVITY, [[str(made) for made in written]])
    note_changed_rows(cursor, name, written, who, is_added=True)
    cursor.execute(_END, [erasure])


def _place(last: tuple[str, int] | None, database: str, history: LogHistory | None) -> tuple[int, int, int]:
    """Return the sequence number, the source and the position of a record: after the last change."""
    if last is not None:
        identifier = UUID(last[0]).bytes
        return sequence_in(identifier), source_in(identifier), last[1]
    if history is not None:
        return history.end, source_of(history.system_identifier, database), lsn_of(history.end)
    return 0, 0, 0
