"""Late changes: the snapshot shows them in the tables, but not yet in the log, because the worker lags."""

from __future__ import annotations

import json
import uuid
from collections.abc import Container, Iterable
from datetime import datetime, timezone
from typing import NamedTuple


class Late(NamedTuple):
    """A row of ``changes``; ``before``, ``after`` and ``unavailable`` are JSON text from the server.

    ``is_seen`` tells whether its transaction is visible in the snapshot.
    """

    id: str
    schema: str
    table: str
    key: str | None
    previous_key: str | None
    operation: str
    before: str
    after: str
    position: int
    unavailable: str | None
    transaction: int
    committed_at: datetime
    is_seen: bool


class _Touch(NamedTuple):
    is_arrival: bool
    position: int
    after: str


def in_utc(time: datetime) -> datetime:
    """Return a time that SQL gave ``AT TIME ZONE 'UTC'`` as an aware datetime.

    What Django makes of a timestamptz depends on ``USE_TZ``, and without it on daylight saving time.
    """
    return time.replace(tzinfo=timezone.utc)


def rendered(changes: Iterable[Late], bound: uuid.UUID, exchanging: Container[tuple[str, str]]) -> str:
    """Return the JSON for the setting ``bemi.as_of_late``: the changes after ``bound`` and their keys.

    An entry with ``is_row`` is the first change of its key, so its ``before`` is the row in the past. Rows of
    the tables ``exchanging`` may exchange their keys.
    """
    entries: list[str] = []
    touches: dict[tuple[str, str, str], list[_Touch]] = {}
    for change in changes:
        if uuid.UUID(change.id) <= bound or not change.is_seen or change.operation == "BASELINE":
            continue
        keys = [key for key in (change.previous_key, change.key) if key is not None]
        if change.operation in ("UPDATE", "DELETE") and keys:
            earlier = touches.get((change.schema, change.table, keys[0]), [])
            may_exchange = (change.schema, change.table) in exchanging
            if not earlier or may_exchange and all(_only_came_by(touch, change) for touch in earlier):
                entries.append(_row(change, keys[0]))
        for key in keys:
            is_arrival = key == change.key and (change.operation == "CREATE" or len(keys) == 2)
            touch = _Touch(is_arrival, change.position, change.after)
            touches.setdefault((change.schema, change.table, key), []).append(touch)
    entries += [json.dumps({"schema": schema, "table": table, "key": key}) for schema, table, key in touches]
    return f"[{', '.join(entries)}]"


def position_at(changes: Iterable[Late], time: datetime, position: int) -> int:
    """Return the sequence number of the last commit not after a time, or ``position`` if there is none."""
    for change in changes:
        if change.committed_at > time:
            break
        position = change.position
    return position


def _only_came_by(touch: _Touch, change: Late) -> bool:
    """Tell whether the key only arrived there in the same transaction, as when two rows swap their keys."""
    return touch.is_arrival and touch.position == change.position and touch.after != change.before


def _row(change: Late, key: str) -> str:
    values = {
        "id": json.dumps(change.id),
        "schema": json.dumps(change.schema),
        "table": json.dumps(change.table),
        "key": json.dumps(key),
        "transaction_id": str(change.transaction),
        # Copied as text, so that numbers keep their digits.
        "before": change.before,
        "unavailable": change.unavailable or "null",
        "is_row": "true",
    }
    return "{" + ", ".join(f'"{name}": {value}' for name, value in values.items()) + "}"
