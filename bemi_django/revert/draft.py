"""Compare the net effect on a row with the live row, and draft the step that undoes it."""

from __future__ import annotations

from dataclasses import dataclass

from bemi_django.log.live.live_tables import ADDRESS, LiveTable, Name, RowValues
from bemi_django.log.lossless_json import dumps
from bemi_django.revert import wording
from bemi_django.revert.columns import ColumnRules
from bemi_django.revert.net import Net, differ
from bemi_django.revert.plan import Conflict, Forced, Kind, Step, conflict_of
from bemi_django.revert.wording import Sentence

Identity = tuple[Name, tuple[str, ...]]


@dataclass(eq=False)
class Draft:
    """A step, with what is needed to check and to take it."""

    step: Step
    net: Net
    table: LiveTable
    live: RowValues | None
    rules: ColumnRules = ColumnRules()

    @property
    def target(self) -> RowValues | None:
        """The row after the step, as far as it is known; None if it is deleted."""
        step = self.step
        if step.action == "delete":
            return None
        return dict(step.values) if step.action == "insert" else {**(self.live or {}), **step.values}

    @property
    def identity(self) -> Identity | None:
        """The identity of the live row, or None if there is none."""
        return identity(self.table, self.live) if self.live is not None else None

    def changes(self, columns: tuple[str, ...]) -> bool:
        """Tell whether the step removes the values that the live row has in these columns."""
        if self.live is None or self.step.action == "nothing":
            return False
        return self.step.action == "delete" or any(column in self.step.values for column in columns)

    def gives(self, columns: tuple[str, ...]) -> bool:
        """Tell whether the step writes values into these columns, all of them known and not NULL."""
        target = self.target if self.step.action in ("insert", "update") else None
        if target is None or any(target.get(column) is None for column in columns):
            return False
        return self.step.action == "insert" or any(column in self.step.values for column in columns)

    def stop(
        self, kind: Kind, why: Sentence | str, columns: tuple[str, ...] = (), *, is_forcible: bool = False
    ) -> Conflict:
        """Set the conflict of the step, unless it has one, and return it."""
        step = self.step
        if step.conflict is None:
            step.conflict = conflict_of(step, kind, why, columns, is_forcible=is_forcible)
        return step.conflict


def identity(table: LiveTable, row: RowValues) -> Identity:
    """Identify a row by its table and the values of its key."""
    return table.name, values_of(row, table.key)


def values_of(row: RowValues, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the values of columns in a hashable form."""
    return tuple(dumps(row[column]) for column in columns)


def key_before(net: Net, table: LiveTable) -> RowValues | None:
    """Return the key of the row after the net effect, or before its deletion; None if it is not known.

    In a table without a key, it is the whole row.
    """
    row = net.last if net.exists else {**net.last, **net.old}
    if not table.has_key:
        return None if net.unknown or any(column not in row for column in table.columns) else row
    may_be_null = table.documents & row.keys()
    if any(row.get(column) is None and column not in may_be_null for column in table.key):
        return None
    return {column: row[column] for column in table.key}


def draft_of(
    net: Net, table: LiveTable, live: RowValues | None, rules: ColumnRules, *, is_moving: bool
) -> Draft:
    """Draft the step that undoes a net effect.

    Args:
        net: The net effect.
        table: Its table.
        live: The row that has the key now, or None.
        rules: How the columns of the table are treated.
        is_moving: Whether that row is another one of the plan, which gets another key.
    """
    current = {column: value for column, value in live.items() if column not in ADDRESS} if live else live
    step = Step(tuple(net.changes), net.schema, net.table, net.primary_key, "nothing", {}, current)
    rules = rules.at_update_of(column for column, old in net.old.items() if differ(old, net.new.get(column)))
    step.renewed = tuple(sorted({*rules.saved, *rules.kept}))
    draft = Draft(step, net, table, live, rules)
    if net.exists and net.existed:
        _undo_update(draft)
    elif net.exists:
        _undo_insert(draft)
    elif net.existed:
        _undo_delete(draft, is_moving)
    if step.conflict is not None and step.conflict.is_forcible and step.forced is None:
        step.forced = Forced(step.action, step.values)
    return draft


def _undo_update(draft: Draft) -> None:
    net, live, step = draft.net, draft.live, draft.step
    wanted = {
        column: value
        for column, value in net.old.items()
        if column in draft.table.columns and draft.rules.puts_back(column)
        if differ(value, net.new.get(column))
    }
    if live is None:
        if wanted:
            # Some fields of a row cannot be put back without the others.
            whole = _writable(draft, {**net.last, **net.old})
            is_forcible = draft.rules.chosen is None and not _ignored(draft, whole)
            if is_forcible:
                step.forced = Forced("insert", whole)
            draft.stop("missing_row", wording.no_row_since(), is_forcible=is_forcible)
        return
    step.values = {column: value for column, value in wanted.items() if differ(live.get(column), value)}
    step.action = "update" if step.values else "nothing"
    changed = [
        column for column in step.values if column in net.new and differ(live.get(column), net.new[column])
    ]
    _compare(draft, changed, net.torn.keys() & wanted.keys())
    _know(draft, net.unknown)


def _undo_insert(draft: Draft) -> None:
    net, live = draft.net, draft.live
    if live is None:
        return
    draft.step.action = "delete"
    columns = [column for column in _chosen(draft, net.new) if column in live]
    _compare(draft, [column for column in columns if differ(live[column], net.new[column])], {*net.torn})


def _undo_delete(draft: Draft, is_moving: bool) -> None:
    net, live, step = draft.net, draft.live, draft.step
    wanted = _writable(draft, net.old)
    if live is None or is_moving:
        draft.live, step.current = None, None
        step.action, step.values = "insert", wanted
        if ignored := _ignored(draft, wanted):
            draft.stop("unavailable", wording.ignored(ignored), ignored)
        _compare(draft, [], {*net.torn})
        _know(draft, net.unknown)
        return
    wanted = _chosen(draft, net.old)
    changed = {column: value for column, value in wanted.items() if differ(live.get(column), value)}
    if changed:
        step.forced = Forced("update", changed)
        columns = tuple(changed)
        draft.stop("key_taken", wording.key_taken(columns), columns, is_forcible=True)


def _compare(draft: Draft, changed: list[str], torn: set[str]) -> None:
    net, live = draft.net, draft.live or {}
    if net.is_torn:
        draft.stop("changed_since", wording.replaced(), is_forcible=True)
    elif changed:
        values = [(column, live.get(column), net.new[column]) for column in changed]
        draft.stop("changed_since", wording.changed_since(values), tuple(changed), is_forcible=True)
    elif torn := {column for column in torn if draft.rules.puts_back(column)}:
        columns = tuple(sorted(torn))
        draft.stop("changed_since", wording.changed_between(columns), columns, is_forcible=True)


def _know(draft: Draft, unknown: set[str]) -> None:
    masked = tuple(column for column in draft.table.columns if column in unknown & draft.net.masked)
    needed = tuple(column for column in masked if column in draft.table.required)
    if needed and draft.step.action == "insert":
        draft.stop("unavailable", wording.needed(needed, draft.net.is_erased), needed)
    elif masked:
        why = wording.not_put_back(masked, draft.net.is_erased)
        draft.stop("unavailable", why, masked, is_forcible=True)
    columns = tuple(
        column for column in draft.table.columns if column in unknown and draft.rules.puts_back(column)
    )
    if columns:
        draft.stop("unavailable", wording.unknown(columns), columns, is_forcible=True)


def _ignored(draft: Draft, row: RowValues) -> tuple[str, ...]:
    """Return the columns without which the row cannot be inserted, and whose values are not recorded."""
    needed = draft.net.ignored & draft.table.indispensable - row.keys()
    return tuple(column for column in draft.table.columns if column in needed)


def _chosen(draft: Draft, row: RowValues) -> RowValues:
    """Return the columns of a row that can be written, without those that are set at every update."""
    return {
        column: value for column, value in _writable(draft, row).items() if column not in draft.rules.kept
    }


def _writable(draft: Draft, row: RowValues) -> RowValues:
    """Return the columns of a row that can be inserted, without those that a save sets itself."""
    saved = draft.rules.saved
    return {column: row[column] for column in draft.table.columns if column in row and column not in saved}
