"""The steps of an action: changes that one statement, or equal ones, made to one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.utils.safestring import SafeString

from bemi_django.admin.access.masks import MASK
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actions.action import action_of, kind_of, transaction_of
from bemi_django.admin.display.actions.sentence import sentence
from bemi_django.admin.display.actors import Actor, Actors, where
from bemi_django.admin.display.change_rows import ListedRow, rows
from bemi_django.admin.display.object_labels import ObjectLabels
from bemi_django.admin.display.site_time import took
from bemi_django.admin.display.sql_text import Statements, replay_sql
from bemi_django.admin.display.values.formatter import Formatter
from bemi_django.log.lossless_json import dumps
from bemi_django.masking.sql_literals import redact_literals
from bemi_django.models import Change

#: The number of changes of a step that are shown with their values before the rest is folded.
FIRST = 3


class ActionStep(NamedTuple):
    """Successive changes of one kind by equal statements.

    Attributes:
        first: The number of the first change, from 1.
        last: The number of the last one.
        sentence: What was done.
        rows: The first of the changes.
        more: The others.
        sql: The statement of the first change, or None.
        statements: How many different statements there are, which are equal but for their values.
    """

    first: int
    last: int
    sentence: SafeString
    rows: list[ListedRow]
    more: list[ListedRow]
    sql: str | None
    statements: int

    @property
    def size(self) -> int:
        """The number of changes."""
        return self.last - self.first + 1

    @property
    def tells_values(self) -> bool:
        """Whether the sentence has the value before and after."""
        return "<del>" in self.sentence


class TransactionSteps(NamedTuple):
    """A transaction, step by step.

    Attributes:
        change: Its first change.
        committed_at: When it was committed.
        later: How long after the beginning, for people; empty for the first one if that is not known.
        actor: Who made it.
        where: The endpoint, task, command or program.
        steps: The steps.
        size: The number of changes.
        sql: The same as SQL.
    """

    change: Change
    committed_at: datetime
    later: str
    actor: Actor
    where: str
    steps: list[ActionStep]
    size: int
    sql: str


def transactions(
    changes: Sequence[Change], viewer: Viewer, began: datetime | None = None
) -> list[TransactionSteps]:
    """Return the steps of changes in commit order.

    Args:
        changes: The changes.
        viewer: Who sees them.
        began: When what made them began; without it, times count from the first commit.
    """
    begin = began or changes[0].committed_at
    actors, objects = Actors(changes, viewer), ObjectLabels(changes, viewer)
    listed = {row.change.pk: row for row in rows(changes, viewer, actors, objects)}
    groups: dict[object, list[Change]] = {}
    for change in changes:
        groups.setdefault(transaction_of(change), []).append(change)
    formatter = Formatter(viewer)
    formatter.learn_changes(changes)
    statements = Statements()
    found: list[TransactionSteps] = []
    number = 1
    for group in groups.values():
        first = group[0]
        steps = _steps(group, number, viewer, objects, formatter, listed, statements)
        number += len(group)
        later = took(first.committed_at - begin) if found or began else ""
        actor, place = actors.actor_of(first), where(first, viewer)
        found.append(
            TransactionSteps(
                first, first.committed_at, later, actor, place, steps, len(group), as_sql(group, viewer)
            )
        )
    return found


def _steps(
    changes: Sequence[Change],
    number: int,
    viewer: Viewer,
    objects: ObjectLabels,
    formatter: Formatter,
    listed: Mapping[Any, ListedRow],
    statements: Statements,
) -> list[ActionStep]:
    runs: list[tuple[object, list[Change]]] = []
    for change in changes:
        name = (kind_of(change), _shape(change))
        if runs and runs[-1][0] == name:
            runs[-1][1].append(change)
        else:
            runs.append((name, [change]))
    found = []
    for _name, run in runs:
        shown = [listed[change.pk] for change in run]
        different = {str(change.context.get("SQL")) for change in run}
        sql = viewer.context(run[0]).get("SQL")
        found.append(
            ActionStep(
                number,
                number + len(run) - 1,
                sentence(action_of(run), viewer, objects, formatter),
                shown[:FIRST],
                shown[FIRST:],
                statements.format(str(sql)) if sql else None,
                len(different),
            )
        )
        number += len(run)
    return found


def _shape(change: Change) -> str:
    """Return the statement of a change without its values."""
    return redact_literals(str(change.context.get("SQL", "")), MASK)


def as_sql(changes: Sequence[Change], viewer: Viewer) -> str:
    """Return SQL that repeats the changes of a transaction; what cannot be repeated is a comment."""
    first = changes[0]
    lines = [f"BEGIN; -- {first.transaction_id}, {first.committed_at.isoformat()}"]
    lines += [change_as_sql(change, viewer) or _not_repeated(change) for change in changes]
    return "\n".join([*lines, "COMMIT;"])


def change_as_sql(change: Change, viewer: Viewer) -> str | None:
    """Return SQL that repeats a change, or None if a value is masked or unknown."""
    if viewer.masked_columns(change) or change.unavailable:
        return None
    return replay_sql(change.operation, change.schema, change.table, change.before, change.after)


def _not_repeated(change: Change) -> str:
    # As JSON, a name with a line break stays in the comment.
    return f"-- {change.operation} {dumps([change.schema, change.table])} ({change.pk}) is not repeated here"
