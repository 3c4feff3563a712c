"""``Plan``: what a revert will do, or has done, and its conflicts."""

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
    "missing_row",  # the row no longer exists
    "key_taken",  # another row has the key of the row to restore
    "unique",  # another row has a value that must be unique
    "missing_parent",  # the row refers to one that no longer exists
    "referenced",  # other rows refer to the row to delete
    "unavailable",  # the log does not know a value
    "missing_table",  # the table no longer exists
    "cycle",  # rows refer to each other, and no order of statements works
    "constraint",  # another constraint is violated
    "refused",  # the server refuses for another reason, such as a missing privilege
    "not_a_row",  # TRUNCATE, GAP and SKIPPED are not changes of a row
]


@dataclass(frozen=True)
class Conflict:
    """Why a row cannot be reverted.

    ``columns`` are the columns concerned. If ``is_forcible``, ``on_conflict="force"`` overwrites what is in
    the way; other conflicts can only be skipped.
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
    """What happens to one row, to revert all selected changes of it.

    ``values`` are the columns to write: all for ``"insert"``, those that change for ``"update"``.
    ``current`` is the live row, or None. With ``on_conflict="skip"``, steps with a ``conflict`` are not
    taken; ``is_done`` tells which were.
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
    """The steps of a revert in the order in which they are taken, one for each row.

    ``str(plan)`` lists the conflicts first.
    """

    database: str | None
    steps: tuple[Step, ...]
    is_applied: bool = False

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """The conflicts of all steps."""
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
