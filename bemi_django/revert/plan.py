"""``Plan``: what a revert will do, or has done, and its conflicts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bemi_django.log.lossless_json import dumps
from bemi_django.revert.absence import PrunedTable
from bemi_django.revert.wording import Sentence, StoredNames

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
    "read_only",  # the caller may not write a column
    "not_a_row",  # TRUNCATE, GAP, SKIPPED, BASELINE and EVENT are not changes of a row
]


@dataclass(frozen=True)
class Conflict:
    """Why a row cannot be reverted.

    ``columns`` are the columns concerned. ``sentence`` is the text before it is given its names, or None for
    what the server says. If ``is_forcible``, ``on_conflict="force"`` overwrites what is in
    the way; other conflicts can only be skipped.
    """

    kind: Kind
    text: str
    schema: str
    table: str
    primary_key: str | None
    columns: tuple[str, ...] = ()
    is_forcible: bool = False
    sentence: Sentence | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{_row(self.schema, self.table, self.primary_key)}: {self.text} ({self.kind})"


class Effect(NamedTuple):
    """A write to one row: an insert, update or delete.

    ``key`` identifies the row; ``columns`` are written, for updates and inserts.
    """

    schema: str
    table: str
    action: Action
    key: str | None
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        detail = f" ({', '.join(self.columns)})" if self.action == "update" else ""
        return f"{self.action} {_row(self.schema, self.table, self.key)}{detail}"


class Forced(NamedTuple):
    """What ``on_conflict="force"`` does instead of stopping at a conflict; see ``Step``."""

    action: Action
    values: Mapping[str, Any]


@dataclass(eq=False)
class Step:
    """What happens to one row, to revert all selected changes of it.

    ``values`` are the columns to write: all for ``"insert"``, those that change for ``"update"``. The
    columns ``renewed`` go on as at any save, whenever the row is written: to the present (``auto_now``), or
    to the next version.
    ``current`` is the live row, or None. With ``on_conflict="skip"``, steps with a ``conflict`` are not
    taken; ``is_done`` tells which were.

    If the conflict can be forced, ``forced`` is what ``on_conflict="force"`` would do, also in a plan made
    with ``"stop"``. In a plan made with ``"force"``, ``action`` and ``values`` are just that, and
    ``overridden`` is the conflict. ``consequences`` are the writes of the database itself: ``ON DELETE
    CASCADE``, ``SET NULL`` and ``SET DEFAULT`` of a forced delete.
    """

    changes: tuple[Change, ...]
    schema: str
    table: str
    primary_key: str | None
    action: Action
    values: Mapping[str, Any] = field(default_factory=dict)
    current: Mapping[str, Any] | None = None
    conflict: Conflict | None = None
    forced: Forced | None = None
    overridden: Conflict | None = None
    consequences: tuple[Effect, ...] = ()
    renewed: tuple[str, ...] = ()
    is_done: bool = False

    def force(self) -> None:
        """Do what ``on_conflict="force"`` does about the conflict, if it can be forced."""
        if self.conflict is not None and self.conflict.is_forcible:
            self.overridden, self.conflict = self.conflict, None
            if self.forced is not None:
                self.action, self.values = self.forced

    def effects(self) -> Iterator[Effect]:
        """Yield the writes of the step, if it is taken: its own and its consequences."""
        if self.conflict is None and self.action != "nothing":
            columns = () if self.action == "delete" else (*self.values, *self.renewed)
            yield Effect(self.schema, self.table, self.action, self.primary_key, columns)
            yield from self.consequences

    def __str__(self) -> str:
        detail = ", ".join(f"{column}: {self._value(column)}" for column in self.values)
        named = f"{self.action} {_row(self.schema, self.table, self.primary_key)}"
        lines = [f"{named} ({detail})" if detail and self.action == "update" else named]
        return "\n".join([*lines, *(f"  and so {effect}" for effect in self.consequences)])

    def _value(self, column: str) -> str:
        return f"{_short((self.current or {}).get(column))} → {_short(self.values[column])}"


#: Tells whether the caller may not write a column with a step; ``step.action`` says how it is written.
ReadOnly = Callable[[Step, str], bool]


@dataclass(eq=False)
class Plan:
    """The steps of a revert in the order in which they are taken, one for each row.

    ``str(plan)`` lists the conflicts first. ``pruned`` are the tables whose changes of the time were removed
    from the log, so that the revert lacks those that belong to it.
    """

    database: str | None
    steps: tuple[Step, ...]
    is_applied: bool = False
    pruned: tuple[PrunedTable, ...] = ()

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """The conflicts of all steps."""
        return tuple(step.conflict for step in self.steps if step.conflict is not None)

    @property
    def digest(self) -> str:
        """A hash of everything that the plan does and finds; another plan has another one.

        It covers the values to write and the ones that they replace, deleted rows, conflicts and
        consequences. Pass the digest of a plan that was confirmed to :func:`bemi_django.revert.revert`.
        """
        return hashlib.sha256(dumps([_described(step) for step in self.steps]).encode()).hexdigest()

    def effects(self) -> Iterator[Effect]:
        """Yield all writes that applying the plan makes, for example to check permissions."""
        for step in self.steps:
            yield from step.effects()

    def __str__(self) -> str:
        lines = [f"conflict: {conflict}" for conflict in self.conflicts]
        lines += [str(step) for step in self.steps if step.conflict is None or step.is_done]
        return "\n".join([*(lines or ["nothing to revert"]), *map(str, self.pruned)])


def _described(step: Step) -> list[Any]:
    current = step.current or {}
    seen = current if step.action == "delete" else {column: current.get(column) for column in step.values}
    return [
        *(step.schema, step.table, step.primary_key, step.action, step.current is None),
        *(dict(step.values), dict(seen), str(step.conflict), str(step.overridden), step.renewed),
        None if step.forced is None else [step.forced.action, dict(step.forced.values)],
        [list(effect) for effect in step.consequences],
    ]


def _row(schema: str, table: str, primary_key: str | None) -> str:
    return f"{schema}.{table}" + (f" {primary_key}" if primary_key is not None else "")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"


def conflict_of(
    step: Step, kind: Kind, why: Sentence | str, columns: tuple[str, ...] = (), *, is_forcible: bool = False
) -> Conflict:
    """Return a conflict of a step.

    Args:
        step: The step.
        kind: What kind of conflict it is.
        why: What is said of it; a text is what the server says.
        columns: The columns concerned.
        is_forcible: Whether the step can be forced.
    """
    sentence = None if isinstance(why, str) else why
    text = why if isinstance(why, str) else why(StoredNames())
    return Conflict(
        kind, text, step.schema, step.table, step.primary_key, columns, is_forcible, sentence=sentence
    )
