"""Turn changes into a plan: net effects, drafts against the live rows, conflicts and order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bemi_django.log.live.live_rows import find_rows
from bemi_django.log.live.live_tables import LiveCatalog, LiveTable, RowValues, read_catalog
from bemi_django.log.places import Place, model_of, renamed_columns
from bemi_django.revert.conflicts import Surroundings
from bemi_django.revert.draft import Draft, draft_of, identity, key_before
from bemi_django.revert.net import Net, nets_of
from bemi_django.revert.order import order
from bemi_django.revert.plan import Conflict, Kind, OnConflict, Plan, Step
from bemi_django.revert.write import Write, writes_of

if TYPE_CHECKING:
    from bemi_django.log.change import Change

_ROWS = ("CREATE", "UPDATE", "DELETE")
_WHY_NOT = {
    "TRUNCATE": "the log does not have the rows that a TRUNCATE removed",
    "GAP": "changes were lost here",
    "SKIPPED": "these changes were excluded from the log",
}


class Planner:
    """Makes the plan of one revert, and the statements that carry it out."""

    def __init__(self, cursor: Any, database: str, on_conflict: OnConflict) -> None:
        self.plan = Plan(database, ())
        self.writes: list[Write] = []
        self.catalog = LiveCatalog({}, [])
        self._cursor = cursor
        self._on_conflict = on_conflict

    def prepare(self, changes: list[Change], *, lock: bool) -> None:
        """Make the plan.

        Args:
            changes: Changes in commit order.
            lock: Whether to lock the rows that the plan is about.
        """
        rows = [change for change in changes if change.operation in _ROWS]
        others = [_no_row(change) for change in changes if change.operation not in _ROWS]
        names = {(change.schema, change.table) for change in rows}
        nets = nets_of(rows, {name: self._renamed(*name) for name in names})
        self.catalog = read_catalog(self._cursor, json.dumps(sorted(names)))
        drafts, impossible = self._drafts(nets, lock)
        # Newest first: that undoes the changes in the reverse of an order that was possible.
        drafts.sort(key=lambda draft: draft.net.changes[-1].pk, reverse=True)
        arranged = self._arrange(drafts)
        self.plan.steps = (*others, *impossible, *(draft.step for draft in arranged))

    def _renamed(self, schema: str, table: str) -> dict[str, str]:
        place = Place(self.plan.database or "", schema, table)
        return dict(renamed_columns(place, model_of(place)))

    def _drafts(self, nets: list[Net], lock: bool) -> tuple[list[Draft], list[Step]]:
        impossible: list[Step] = []
        keys: dict[Net, RowValues] = {}
        for net in nets:
            table = self.catalog.tables.get((net.schema, net.table))
            key = key_before(net, table) if table else None
            if key is not None:
                keys[net] = key
            elif table is None:
                impossible.append(_impossible(net, "missing_table", "the table no longer exists"))
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

    def _table(self, net: Net) -> LiveTable:
        return self.catalog.tables[net.schema, net.table]

    def _live(self, keys: dict[Net, RowValues], lock: bool) -> dict[Net, RowValues]:
        found: dict[Net, RowValues] = {}
        for name, table in sorted(self.catalog.tables.items()):
            # Without a key, nothing can be in the way of a deleted row.
            nets = [net for net in keys if (net.schema, net.table) == name and (net.exists or table.has_key)]
            # Lock in key order, so that two reverts do not deadlock.
            nets.sort(key=lambda net: net.primary_key or "")
            rows = find_rows(self._cursor, table, [keys[net] for net in nets], lock=lock) if nets else {}
            found.update({nets[number]: row for number, row in rows.items()})
        return found

    def _arrange(self, drafts: list[Draft]) -> list[Draft]:
        """Find conflicts and an order; with ``skip``, leave out the steps that have conflicts."""
        if self._on_conflict == "force":
            for draft in drafts:
                _force(draft)
        moving = [draft for draft in drafts if draft.step.action != "nothing"]
        around = Surroundings(self._cursor, self.catalog, moving)
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
                draft.stop("cycle", "rows refer to each other, and no order of statements works")
                blocked.add(draft)
            if not skips or not blocked:
                break
            active -= blocked
        self.writes = writes_of(ordered)
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
    text = _WHY_NOT.get(change.operation, f"a {change.operation} is not a change of a row")
    conflict = Conflict("not_a_row", text, change.schema, change.table, change.primary_key)
    return Step((change,), change.schema, change.table, change.primary_key, "nothing", conflict=conflict)


def _impossible(net: Net, kind: Kind, text: str) -> Step:
    conflict = Conflict(kind, text, net.schema, net.table, net.primary_key)
    return Step(tuple(net.changes), net.schema, net.table, net.primary_key, "nothing", conflict=conflict)
