"""Changes that a snapshot shows in the tables and not in the log: the worker is always a moment behind."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple


class Late(NamedTuple):
    """A row of ``changes``; ``before``, ``after`` and ``unavailable`` are text, as the server prints it.

    ``is_seen``: whether the snapshot shows its transaction in the tables, too.
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


def rendered(changes: Iterable[Late], bound: uuid.UUID) -> str:
    """What ``bemi.as_of_late`` holds of the changes after ``bound``, in their order: all keys they touch.

    Where a change is the first of its key, ``is_row`` says that its row before is the key's past.
    """
    entries: list[str] = []
    touches: dict[tuple[str, str, str], list[_Touch]] = {}
    for change in changes:
        if uuid.UUID(change.id) <= bound or not change.is_seen:
            continue
        keys = [key for key in (change.previous_key, change.key) if key is not None]
        if change.operation in ("UPDATE", "DELETE") and keys:
            earlier = touches.get((change.schema, change.table, keys[0]), [])
            if all(_only_came_by(touch, change) for touch in earlier):
                entries.append(_row(change, keys[0]))
        for key in keys:
            is_arrival = key == change.key and (change.operation == "CREATE" or len(keys) == 2)
            touch = _Touch(is_arrival, change.position, change.after)
            touches.setdefault((change.schema, change.table, key), []).append(touch)
    entries += [json.dumps({"schema": schema, "table": table, "key": key}) for schema, table, key in touches]
    return f"[{', '.join(entries)}]"


def position_at(changes: Iterable[Late], time: datetime, position: int) -> int:
    """The position of the last commit before the first one after a time; ``position`` where there is none."""
    for change in changes:
        if change.committed_at > time:
            break
        position = change.position
    return position


def _only_came_by(touch: _Touch, change: Late) -> bool:
    """Rows that exchange their keys in one transaction: what came there is not what was there."""
    return touch.is_arrival and touch.position == change.position and touch.after != change.before


def _row(change: Late, key: str) -> str:
    values = {
        "id": json.dumps(change.id),
        "schema": json.dumps(change.schema),
        "table": json.dumps(change.table),
        "key": json.dumps(key),
        "position": str(change.position),
        # As they are: a number must not become another one.
        "before": change.before,
        "unavailable": change.unavailable or "null",
        "is_row": "true",
    }
    return "{" + ", ".join(f'"{name}": {value}' for name, value in values.items()) + "}"
