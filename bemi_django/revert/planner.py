"""Turn changes into a plan: net effects, drafts against the live rows, conflicts and order."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from bemi_django.exceptions import BemiError
from bemi_django.log.live.column_names import ColumnNames
from bemi_django.log.live.kept_columns import kept_columns
from bemi_django.log.live.live_rows import find_rows
from bemi_django.log.live.live_tables import LiveCatalog, LiveTable, RowValues, read_catalog
from bemi_django.log.live.name_catalog import read_names
from bemi_django.log.places import Place, is_bookkeeping, models_at, renamed_columns
from bemi_django.revert import wording
from bemi_django.revert.altered import take_present_types
from bemi_django.revert.columns import ColumnRules, member_name, member_names, rules_of
from bemi_django.revert.conflicts.found import Found
from bemi_django.revert.conflicts.surroundings import Surroundings
from bemi_django.revert.consequences import CascadeReader, Consequences
from bemi_django.revert.draft import Draft, draft_of, identity, key_before
from bemi_django.revert.net import Net, nets_of
from bemi_django.revert.order import order
from bemi_django.revert.plan import Forced, Kind, OnConflict, Plan, ReadOnly, Step, conflict_of
from bemi_django.revert.wording import Sentence
from bemi_django.revert.write import Write, writes_of

if TYPE_CHECKING:
    from bemi_django.log.change import Change

_ROWS = ("CREATE", "UPDATE", "DELETE")


class Planner:
    """Makes the plan of one revert, and the statements that carry it out."""

    def __init__(
        self,
        cursor: Any,
        database: str,
        on_conflict: OnConflict,
        is_read_only: ReadOnly | None = None,
        *,
        fields: Collection[str] | None = None,
        values: RowValues | None = None,
        lock: bool,
    ) -> None:
        """Prepare to plan.

        Args:
            cursor: A cursor of ``row_session``.
            database: The name that the log has for the database.
            on_conflict: See :func:`bemi_django.revert.revert`.
            is_read_only: See :func:`bemi_django.revert.revert`.
            fields: Names of the fields or columns to put back, or None for all.
            values: Values for columns that are masked in the log, for rows that were deleted.
            lock: Whether to lock the rows that the plan is about.
        """
        self.plan = Plan(database, ())
        self.writes: list[Write] = []
        self.catalog = LiveCatalog({}, [])
        self._cursor = cursor
        self._cascades: dict[Draft, Consequences] = {}
        self._on_conflict = on_conflict
        self._is_read_only = is_read_only
        self._fields = fields
        self._values = values or {}
        self._lock = lock
        self._models: dict[tuple[str, str], Any] = {}
        self._rules: dict[tuple[str, str], ColumnRules] = {}

    def prepare(self, changes: list[Change]) -> None:
        """Make the plan for changes in commit order.

        Raises:
            BemiError: None of the rows has all of the fields to put back.
        """
        # Events of a transaction are no changes, and nothing is in the way of what is.
        changes = [change for change in changes if change.operation not in ("EVENT", "ERASED")] or changes
        rows = [change for change in changes if _is_of_a_row(change)]
        others = [_no_row(change) for change in changes if not _is_of_a_row(change)]
        names = {(change.schema, change.table) for change in rows}
        found = models_at(self.plan.database or "", [self._place(*name) for name in names])
        self._models = {(place.schema, place.table): model for place, model in found.items()}
        nets = nets_of(rows, self._columns(names))
        nets = [net for net in nets if not self._is_left_alone(net)]
        for net in nets:
            net.give(self._values)
        listed = json.dumps(sorted(names))
        self.catalog = read_catalog(self._cursor, listed)
        kept = kept_columns(self._cursor, listed)
        self._rules = {
            name: rules_of(self._models[name], table, self._fields, kept.get(name))
            for name, table in self.catalog.tables.items()
        }
        if self._fields is not None:
            self._refuse_unknown_fields(nets)
        drafts, impossible = self._drafts(nets)
        # Newest first: that undoes the changes in the reverse of an order that was possible.
        drafts.sort(key=lambda draft: draft.net.changes[-1].pk, reverse=True)
        arranged = self._arrange(drafts)
        self.plan.steps = (*others, *impossible, *(draft.step for draft in arranged))

    def _place(self, schema: str, table: str) -> Place:
        return Place(self.plan.database or "", schema, table)

    def _columns(self, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], ColumnNames]:
        declared = {name: renamed_columns(self._place(*name), self._models[name]) for name in names}
        return read_names(self._cursor, declared)

    def _is_left_alone(self, net: Net) -> bool:
        """Tell whether a row stays as it is: a record of what was done, or one with no fields to put back."""
        if self._fields is not None and member_name(self._models[net.schema, net.table]) not in self._fields:
            return not (net.existed and net.exists)
        return net.exists and not net.existed and is_bookkeeping(self._place(net.schema, net.table))

    def _refuse_unknown_fields(self, nets: list[Net]) -> None:
        known = [self._rules[net.schema, net.table] for net in nets if (net.schema, net.table) in self._rules]
        if not nets:
            raise BemiError(
                _("fields can be put back in rows that were updated: none of these changes is an UPDATE")
            )
        wanted = set(self._fields or ()) - member_names(list(self._models.values()))
        if wanted and not any(len(rules.chosen or ()) == len(wanted) for rules in known):
            named = ", ".join(sorted(self._fields or ()))
            raise BemiError(_("no table of these changes has the fields %s: check their names") % named)

    def _drafts(self, nets: list[Net]) -> tuple[list[Draft], list[Step]]:
        impossible: list[Step] = []
        keys: dict[Net, RowValues] = {}
        for net in nets:
            table = self.catalog.tables.get((net.schema, net.table))
            key = key_before(net, table) if table else None
            if key is not None:
                keys[net] = key
            elif table is None:
                impossible.append(_impossible(net, "missing_table", wording.no_table()))
            else:
                impossible.append(_impossible(net, "unavailable", wording.no_key(table.has_key)))
        live = self._live(keys)
        for name, table in self.catalog.tables.items():
            own = [net for net in keys if (net.schema, net.table) == name]
            take_present_types(self._cursor, table, own, live)
        here = {identity(self._table(net), row) for net, row in live.items() if net.exists}
        drafts = []
        for net in keys:
            table = self._table(net)
            is_moving = not net.exists and table.has_key and identity(table, keys[net]) in here
            rules = self._rules[net.schema, net.table]
            drafts.append(draft_of(net, table, live.get(net), rules, is_moving=is_moving))
        return drafts, impossible

    def _table(self, net: Net) -> LiveTable:
        return self.catalog.tables[net.schema, net.table]

    def _live(self, keys: dict[Net, RowValues]) -> dict[Net, RowValues]:
        found: dict[Net, RowValues] = {}
        for name, table in sorted(self.catalog.tables.items()):
            # Without a key, nothing can be in the way of a deleted row.
            nets = [net for net in keys if (net.schema, net.table) == name and (net.exists or table.has_key)]
            # Lock in key order, so that two reverts do not deadlock.
            nets.sort(key=lambda net: net.primary_key or "")
            rows = (
                find_rows(self._cursor, table, [keys[net] for net in nets], lock=self._lock) if nets else {}
            )
            found.update({nets[number]: row for number, row in rows.items()})
        return found

    def _arrange(self, drafts: list[Draft]) -> list[Draft]:
        """Find conflicts and an order; with ``skip``, leave out the steps that have conflicts."""
        for draft in drafts:
            if self._on_conflict == "force":
                draft.step.force()
            self._check_columns(draft)
        moving = [draft for draft in drafts if draft.step.action != "nothing"]
        around = Surroundings(self._cursor, self.catalog, moving)
        skips = self._on_conflict == "skip"
        active = {draft for draft in moving if not (skips and draft.step.conflict)}
        while True:
            found, edges = around.check(active)
            blocked = set()
            for one in found:
                if self._stops(one, active):
                    blocked.add(one.draft)
            ordered = order([draft for draft in moving if draft in active], edges)
            for draft in ordered.stuck:
                draft.stop("cycle", wording.cycle())
                blocked.add(draft)
            if not skips or not blocked:
                break
            active -= blocked
        self.writes = writes_of(ordered, around.passed_on)
        taken = set(ordered.nodes)
        return [draft for draft in drafts if draft not in taken] + ordered.nodes

    def _stops(self, found: Found, active: set[Draft]) -> bool:
        """Set the conflict on its draft, or force it; return whether it remains."""
        draft, kind, why, columns, is_forcible, child = found
        if child is not None and is_forcible:
            # Only the database's own actions on a delete can be forced here.
            consequences = self._consequences(draft, active)
            if consequences.blocker is not None:
                is_forcible = False
                why = wording.referenced(child, True, consequences.blocker)
            else:
                draft.step.forced = Forced("delete", {})
                draft.step.consequences = consequences.effects
        draft.stop(kind, why, columns, is_forcible=is_forcible)
        if self._on_conflict == "force":
            draft.step.force()
        return draft.step.conflict is not None

    def _consequences(self, draft: Draft, active: set[Draft]) -> Consequences:
        if draft not in self._cascades:
            planned = {one.identity for one in active if one.identity is not None}
            reader = CascadeReader(self._cursor, self.catalog, planned, lock=self._lock)
            self._cascades[draft] = reader.read(draft)
        return self._cascades[draft]

    def _check_columns(self, draft: Draft) -> None:
        """Set a conflict if the step would write columns that the caller may not write."""
        step = draft.step
        if self._is_read_only is None or step.conflict is not None or step.action == "delete":
            return
        columns = tuple(column for column in step.values if self._is_read_only(step, column))
        if columns:
            draft.stop("read_only", wording.read_only(columns), columns)


def _is_of_a_row(change: Change) -> bool:
    return change.operation in _ROWS and not change.diverged


def _no_row(change: Change) -> Step:
    why = wording.diverged() if change.diverged else wording.no_row(change.operation)
    step = Step((change,), change.schema, change.table, change.primary_key, "nothing")
    step.conflict = conflict_of(step, "not_a_row", why)
    return step


def _impossible(net: Net, kind: Kind, why: Sentence) -> Step:
    step = Step(tuple(net.changes), net.schema, net.table, net.primary_key, "nothing")
    step.conflict = conflict_of(step, kind, why)
    return step
