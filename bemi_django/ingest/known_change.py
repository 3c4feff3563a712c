"""What the log knows of a change that is written again from a dead letter, which may only add to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from bemi_django.wire import INVALID_KEY

#: What is read of a change, in the order of :class:`KnownChange`.
COLUMNS = (
    "database", "operation", "transaction_id", "position", "schema", '"table"', "partition", "primary_key",
    "previous_primary_key", "before::text", "after::text", "context::text", "unavailable::text", "diverged",
)  # fmt: skip

_MISSING = object()


class KnownChange(NamedTuple):
    """A row of the log, with its JSON as text."""

    database: str
    operation: str
    transaction_id: int
    position: int
    schema: str
    table: str
    partition: str | None
    primary_key: str | None
    previous_primary_key: str | None
    before: str
    after: str
    context: str
    unavailable: str | None
    diverged: bool

    def is_completed_by(self, other: KnownChange) -> bool:
        """Return whether another row says all that this one does, and more only of what is missing here.

        Whoever may add letters, which is the worker, could change any row of the log otherwise.
        """
        says = _read(self.unavailable or "{}")
        lacks_values = bool(says.get("before") or says.get("after"))
        keys = [
            (self.primary_key, other.primary_key),
            (self.previous_primary_key, other.previous_primary_key),
        ]
        # Of a row that could not be read, the key is not known, and the table is that of its partition.
        is_of_partition = lacks_values and other.partition == f"{self.schema}.{self.table}"
        return (
            self[:4] == other[:4]
            and (self[4:7] == other[4:7] or is_of_partition)
            and all(mine == its or (lacks_values and mine is None) for mine, its in keys)
            and (_read(self.context) == _read(other.context) or INVALID_KEY in _read(self.context))
            and self._has_values(other)
        )

    def _has_values(self, other: KnownChange) -> bool:
        lacked, left_out = _read(self.unavailable or "{}"), _read(other.unavailable or "{}")
        # Rules may have come in the meantime by which less is kept.
        may_go = {*left_out.get("masked", ()), *left_out.get("ignored", ())}
        for side in ("before", "after"):
            old, new = _read(getattr(self, side)), _read(getattr(other, side))
            if any(
                new.get(name, _MISSING) != value
                for name, value in old.items()
                if name in new or name not in may_go
            ):
                return False
            if not lacked.get(side) and not new.keys() <= old.keys():
                return False
        return True


def _read(text: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(text, parse_float=_number, parse_int=_number)
    return found


def _number(text: str) -> tuple[Decimal]:
    """Return a number with all its digits, so that 1 does not equal true, as it does in Python."""
    return (Decimal(text),)
