"""What a revert will do, or has done: the plan, and what stands in its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from bemi_django.log.change import Change

OnConflict = Literal["stop", "skip", "force"]
Action = Literal["insert", "update", "delete", "nothing"]
Kind = Literal[
    "changed_since",  # the row has other values now, or others changed it in between
    "missing_row",  # the row is gone
    "key_taken",  # another row has the key of the row that is to come back
    "unique",  # another row has a value that must be unique
    "missing_parent",  # the row refers to one that is gone
    "referenced",  # other rows refer to the row that is to go
    "unavailable",  # the log does not know a value
    "missing_table",  # the table is gone
    "cycle",  # rows refer to each other, and no order works
    "constraint",  # another constraint of the table refuses
    "refused",  # the server refuses: a right, a type
    "not_a_row",  # TRUNCATE, GAP, SKIPPED: no row that could be put back
]


@dataclass(frozen=True)
class Conflict:
    """Why a row cannot be reverted as it is, in words.

    ``columns`` are those it is about. One that is ``is_forcible`` loses something when it is forced; the
    others stand in the way whatever ``on_conflict`` says, but for ``"skip"``.
    """

    kind: Kind
    text: str
    schema: str
    table: str
    primary_key: str | None
    columns: tuple[str, ...] = ()
    is_forcible: bool = False

    def __str__(self) -> str:
        return f"{_row(self.schema, self.table, self.primary_key)}: {self.text} ({self.kind})"


@dataclass(eq=False)
class Step:
    """What happens to one row, for all changes of it that are reverted.

    ``values`` are the columns that are written: all for ``"insert"``, those that change for ``"update"``.
    ``current`` is the row as it is now, None where there is none. With ``on_conflict="skip"`` a step that
    has a ``conflict`` is not taken; ``is_done`` tells.
    """

    changes: tuple[Change, ...]
    schema: str
    table: str
    primary_key: str | None
    action: Action
    values: Mapping[str, Any] = field(default_factory=dict)
    current: Mapping[str, Any] | None = None
    conflict: Conflict | None = None
    is_done: bool = False

    def __str__(self) -> str:
        detail = ", ".join(f"{column}: {self._value(column)}" for column in self.values)
        named = f"{self.action} {_row(self.schema, self.table, self.primary_key)}"
        return f"{named} ({detail})" if detail and self.action == "update" else named

    def _value(self, column: str) -> str:
        return f"{_short((self.current or {}).get(column))} → {_short(self.values[column])}"


@dataclass(eq=False)
class Plan:
    """The steps in the order in which they are taken, one for each row; printed conflicts come first."""

    database: str | None
    steps: tuple[Step, ...]
    is_applied: bool = False

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        return tuple(step.conflict for step in self.steps if step.conflict is not None)

    def __str__(self) -> str:
        lines = [f"conflict: {conflict}" for conflict in self.conflicts]
        lines += [str(step) for step in self.steps if step.conflict is None or step.is_done]
        return "\n".join(lines) or "nothing to revert"


def _row(schema: str, table: str, primary_key: str | None) -> str:
    return f"{schema}.{table}" + (f" {primary_key}" if primary_key is not None else "")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"
