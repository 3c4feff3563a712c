"""Undo changes: first a plan, then, in one transaction, what it says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, DataError, transaction

from bemi_django.exceptions import BemiError, RevertConflict, first_line, sqlstate_of
from bemi_django.log.live_rows import find_rows
from bemi_django.log.live_tables import LiveCatalog, RowValues, read_catalog
from bemi_django.log.places import Place, alias_of, model_of, renamed_columns
from bemi_django.log.row_session import row_session
from bemi_django.revert.cascade import with_cascades
from bemi_django.revert.check import Surroundings
from bemi_django.revert.draft import Draft, draft_of, identity, key_before
from bemi_django.revert.net import Net, nets_of
from bemi_django.revert.order import order
from bemi_django.revert.plan import Conflict, Kind, OnConflict, Plan, Step
from bemi_django.revert.write import Write, defer, move_sequences, run, settle, writes_of

if TYPE_CHECKING:
    from bemi_django.log.change import Change

__all__ = ["Conflict", "OnConflict", "Plan", "Step", "revert"]

_ROWS = ("CREATE", "UPDATE", "DELETE")
_WHY_NOT = {
    "TRUNCATE": "the rows of a TRUNCATE are not in the log",
    "GAP": "history was lost here",
    "SKIPPED": "the rows were left out of the log",
}
_KINDS: dict[str, Kind] = {
    "23505": "unique",
    "23503": "referenced",
    "23502": "constraint",
    "23514": "constraint",
    "23P01": "constraint",
}


def revert(
    changes: Iterable[Change],
    *,
    dry_run: bool = False,
    on_conflict: OnConflict = "stop",
    cascade: bool = True,
) -> Plan:
    """Undo changes of one database, in one transaction on it; see ``ChangeQuerySet.revert``."""
    selected = sorted(changes, key=lambda change: change.pk)
    databases = {change.database for change in selected}
    if not selected:
        return Plan(None, (), is_applied=not dry_run)
    if len(databases) > 1:
        names = ", ".join(sorted(databases))
        raise BemiError(
            f"changes of several databases ({names}): revert them one by one, filter(database=...)"
        )
    (database,) = databases
    alias = alias_of(database)
    try:
        with row_session(alias) as cursor:
            work = _Work(cursor, alias, database, on_conflict)
            work.prepare(with_cascades(cursor, selected) if cascade else selected, lock=not dry_run)
            if not dry_run:
                work.apply()
    except DataError as error:
        # Where a key or a reference is looked up.
        raise BemiError(
            f"values of the log do not fit the tables as they are now: {first_line(error)}"
        ) from error
    return work.plan


class _Work:
    """One revert, from changes to statements."""

    def __init__(self, cursor: Any, alias: str, database: str, on_conflict: OnConflict) -> None:
        self._cursor = cursor
        self._alias = alias
        self._on_conflict = on_conflict
        self.plan = Plan(database, ())
        self._writes: list[Write] = []
        self._catalog = LiveCatalog({}, [])

    def prepare(self, changes: list[Change], *, lock: bool) -> None:
        """Make the plan; ``lock`` the rows that it is about."""
        rows = [change for change in changes if change.operation in _ROWS]
        others = [_no_row(change) for change in changes if change.operation not in _ROWS]
        names = {(change.schema, change.table) for change in rows}
        nets = nets_of(rows, {name: self._renamed(*name) for name in names})
        self._catalog = read_catalog(self._cursor, json.dumps(sorted(names)))
        drafts, impossible = self._drafts(nets, lock)
        # The newest first: that undoes what was done in an order that was possible.
        drafts.sort(key=lambda draft: draft.net.changes[-1].pk, reverse=True)
        arranged = self._arrange(drafts)
        self.plan.steps = (*others, *impossible, *(draft.step for draft in arranged))

    def apply(self) -> None:
        """Take the steps. Raises RevertConflict, after which nothing is done, where there are conflicts."""
        skips = self._on_conflict == "skip"
        if self.plan.conflicts and not skips:
            raise _refusal(self.plan)
        defer(self._cursor, self._catalog)
        failed: set[Draft] = set()
        for write in self._writes:
            if write.draft not in failed and not self._take(write, skips):
                failed.add(write.draft)
        move_sequences(self._cursor, [write.draft for write in self._writes if write.draft not in failed])
        try:
            settle(self._cursor, self._catalog)
        except DatabaseError as error:
            last = self._writes[-1].draft
            last.stop(*_reason(error))
            raise _refusal(self.plan) from error
        for write in self._writes:
            write.draft.step.is_done = write.draft not in failed
        self.plan.is_applied = True

    def _take(self, write: Write, skips: bool) -> bool:
        try:
            if skips:
                with transaction.atomic(using=self._alias):
                    run(self._cursor, write)
            else:
                run(self._cursor, write)
        except (DatabaseError, LookupError) as error:
            write.draft.stop(*_reason(error))
            if not skips:
                raise _refusal(self.plan) from error
            return False
        return True

    def _renamed(self, schema: str, table: str) -> dict[str, str]:
        place = Place(self.plan.database or "", schema, table)
        return dict(renamed_columns(place, model_of(place)))

    def _drafts(self, nets: list[Net], lock: bool) -> tuple[list[Draft], list[Step]]:
        impossible: list[Step] = []
        keys: dict[Net, RowValues] = {}
        for net in nets:
            table = self._catalog.tables.get((net.schema, net.table))
            key = key_before(net, table) if table else None
            if key is not None:
                keys[net] = key
            elif table is None:
                impossible.append(_impossible(net, "missing_table", "the table is gone"))
            else:
                what = "the row's key" if table.has_key else "the whole row, and the table has no key"
                impossible.append(_impossible(net, "unavailable", f"the log does not know {what}"))
        live = self._live(keys, lock)
        here = {identity(self._table(net), row) for net, row in live.items() if net.exists}
        drafts = []
        for net in keys:
            table = self._table(net)
            is_moving = not net.exists and table.has_key and identity(table, keys[net]) in here
            drafts.append(draft_of(net, table, live.get(net), is_moving))
        return drafts, impossible

    def _table(self, net: Net) -> Any:
        return self._catalog.tables[net.schema, net.table]

    def _live(self, keys: dict[Net, RowValues], lock: bool) -> dict[Net, RowValues]:
        found: dict[Net, RowValues] = {}
        for name, table in sorted(self._catalog.tables.items()):
            # In the order of the keys, so that two reverts do not wait for each other. Where there is no key,
            # a row that was deleted has no place that could be taken.
            nets = [net for net in keys if (net.schema, net.table) == name and (net.exists or table.has_key)]
            nets.sort(key=lambda net: net.primary_key or "")
            rows = find_rows(self._cursor, table, [keys[net] for net in nets], lock=lock) if nets else {}
            found.update({nets[number]: row for number, row in rows.items()})
        return found

    def _arrange(self, drafts: list[Draft]) -> list[Draft]:
        """Find conflicts and the order; with ``skip`` without the steps that have conflicts."""
        if self._on_conflict == "force":
            for draft in drafts:
                _force(draft)
        moving = [draft for draft in drafts if draft.step.action != "nothing"]
        around = Surroundings(self._cursor, self._catalog, moving)
        skips = self._on_conflict == "skip"
        active = {draft for draft in moving if not (skips and draft.step.conflict)}
        while True:
            found, edges = around.check(active)
            blocked = set()
            for draft, kind, text, columns, is_forcible in found:
                if not (is_forcible and self._on_conflict == "force"):
                    draft.stop(kind, text, columns, is_forcible=is_forcible)
                    blocked.add(draft)
            ordered = order([draft for draft in moving if draft in active], edges)
            for draft in ordered.stuck:
                draft.stop("cycle", "rows refer to each other, and no order works")
                blocked.add(draft)
            if not skips or not blocked:
                break
            active -= blocked
        self._writes = writes_of(ordered)
        taken = set(ordered.nodes)
        return [draft for draft in drafts if draft not in taken] + ordered.nodes


def _force(draft: Draft) -> None:
    conflict = draft.step.conflict
    if conflict is None or not conflict.is_forcible:
        return
    draft.step.conflict = None
    if draft.forced is not None:
        action, values = draft.forced
        draft.step.action, draft.step.values = action, values  # type: ignore[assignment]


def _no_row(change: Change) -> Step:
    text = _WHY_NOT.get(change.operation, f"a {change.operation} is no change of a row")
    conflict = Conflict("not_a_row", text, change.schema, change.table, change.primary_key)
    return Step((change,), change.schema, change.table, change.primary_key, "nothing", conflict=conflict)


def _impossible(net: Net, kind: Kind, text: str) -> Step:
    conflict = Conflict(kind, text, net.schema, net.table, net.primary_key)
    return Step(tuple(net.changes), net.schema, net.table, net.primary_key, "nothing", conflict=conflict)


def _reason(error: Exception) -> tuple[Kind, str]:
    return _KINDS.get(sqlstate_of(error), "refused"), first_line(error)


def _refusal(plan: Plan) -> RevertConflict:
    conflicts = plan.conflicts
    lines = [str(conflict) for conflict in conflicts[:10]]
    lines += [f"and {len(conflicts) - 10} more"] if len(conflicts) > 10 else []
    remedy = "nothing was reverted; on_conflict='skip' leaves these rows as they are"
    remedy += ", 'force' overwrites them" if all(conflict.is_forcible for conflict in conflicts) else ""
    return RevertConflict("\n".join([f"{remedy}:", *lines]), plan)
