"""Revert changes: make the plan, then apply it in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from django.db import DatabaseError, DataError, transaction

from bemi_django.capture.context import bound_context
from bemi_django.exceptions import BemiError, PlanChanged, RevertConflict, first_line, sqlstate_of
from bemi_django.log.live.row_session import row_session
from bemi_django.log.places import alias_of
from bemi_django.revert.absence import pruned_tables, require_arrived
from bemi_django.revert.cascade import with_cascades
from bemi_django.revert.draft import Draft
from bemi_django.revert.plan import Kind, OnConflict, Plan, ReadOnly
from bemi_django.revert.planner import Planner
from bemi_django.revert.write import Write, defer, move_sequences, run, settle

if TYPE_CHECKING:
    from bemi_django.log.change import Change

Changes: TypeAlias = "Iterable[Change]"

_KINDS: dict[str, Kind] = {
    "23505": "unique",
    "23503": "referenced",
    "23502": "constraint",
    "23514": "constraint",
    "23P01": "constraint",
}


def revert(
    changes: Changes,
    *,
    dry_run: bool = False,
    on_conflict: OnConflict = "stop",
    cascade: bool = True,
    check: Callable[[Plan], object] | None = None,
    digest: str | None = None,
    is_read_only: ReadOnly | None = None,
    fields: Collection[str] | None = None,
    values: Mapping[str, Any] | None = None,
    reason: str | None = None,
) -> Plan:
    """Undo changes of one database in one transaction on it.

    Each row gets back the values that it had before the first of the changes, column by column. Values that
    others have written since are kept in the columns that these changes did not touch; in the others they
    are conflicts. The revert is recorded like any write; the context of its changes has ``"reverts"``, the
    ids of the reverted changes.

    Columns that each save sets (``auto_now``, versions of optimistic locks, what a trigger sets at every
    update) go on as at a save, and are no conflict. Rows of ``BEMI_BOOKKEEPING_TABLES``, such as the admin's
    log entries, record what was done; a revert does not delete them.

    Args:
        changes: The changes, in any order.
        dry_run: Only plan; write nothing and lock nothing.
        on_conflict: ``"stop"`` reverts nothing if there is a conflict, ``"skip"`` leaves out the rows that
            have one, ``"force"`` overwrites what is in the way where that is possible.
        cascade: Whether a deleted row comes back together with what its transaction deleted or set to NULL
            because of it.
        check: Called with the plan before it is applied, while the rows are locked; what it raises prevents
            the revert. Use it to check permissions for ``plan.effects()``.
        digest: The digest of the plan that was confirmed, made with the same arguments, but of all fields.
        is_read_only: Called with a step and a column; columns for which it returns True are not written, but
            are conflicts of the kind ``"read_only"``, which cannot be forced.
        fields: Names of the fields (or columns) to put back in rows that were updated; by default all. Rows
            that were created or deleted stay as they are, but for those of many-to-many fields named here.
        values: Values, as JSON has them, of columns that are masked in the log, by column: for deleted rows.
        reason: Why, for the context of the changes.

    Returns:
        The plan, applied or not.

    Raises:
        RevertConflict: Conflicts prevent the revert; nothing was written. ``error.plan`` has them.
        PlanChanged: The plan differs from the one with the digest; nothing was written.
            ``error.plan`` is the new plan.
        UnknownDatabase: ``DATABASES`` does not have the database.
        LogBehind: What was changed together with them is not in the log yet.
        BemiError: The changes are of several databases, or no row has the fields.
    """
    selected = sorted(changes, key=lambda change: change.pk)
    databases = {change.database for change in selected}
    if not selected:
        return Plan(None, (), is_applied=not dry_run)
    if len(databases) > 1:
        names = ", ".join(sorted(databases))
        raise BemiError(
            f"the changes are of several databases ({names}): revert one at a time, with filter(database=...)"
        )
    (database,) = databases
    alias = alias_of(database)
    try:
        require_arrived(selected)
        with row_session(alias) as cursor:
            concerned = with_cascades(cursor, selected) if cascade else selected
            pruned = pruned_tables(selected)

            def planned(only: Collection[str] | None) -> Planner:
                made = Planner(
                    cursor,
                    database,
                    on_conflict,
                    is_read_only,
                    fields=only,
                    values=dict(values or {}),
                    lock=not dry_run,
                )
                made.prepare(concerned)
                made.plan.pruned = pruned
                return made

            planner = planned(fields)
            if not dry_run:
                if digest not in (None, (planner if fields is None else planned(None)).plan.digest):
                    raise PlanChanged(plan=planner.plan)
                if check is not None:
                    check(planner.plan)
                with bound_context(**({"reason": reason} if reason else {})):
                    _Application(cursor, alias, planner, skips=on_conflict == "skip").run()
    except DataError as error:
        # From looking up a key or a reference.
        raise BemiError(
            f"values of the log do not fit the tables as they are now: {first_line(error)}"
        ) from error
    return planner.plan


class _Application:
    """Takes the steps of a plan."""

    def __init__(self, cursor: Any, alias: str, planner: Planner, *, skips: bool) -> None:
        self._cursor = cursor
        self._alias = alias
        self._plan = planner.plan
        self._writes = planner.writes
        self._catalog = planner.catalog
        self._skips = skips

    def run(self) -> None:
        """Take all steps. Raises RevertConflict, after which nothing is written, if there are conflicts."""
        if self._plan.conflicts and not self._skips:
            raise _refusal(self._plan)
        defer(self._cursor, self._catalog)
        failed: set[Draft] = set()
        for write in self._writes:
            if write.draft not in failed and not self._take(write):
                failed.add(write.draft)
        move_sequences(self._cursor, [write.draft for write in self._writes if write.draft not in failed])
        try:
            settle(self._cursor, self._catalog)
        except DatabaseError as error:
            self._writes[-1].draft.stop(*_reason(error, self._writes[-1]))
            raise _refusal(self._plan) from error
        for write in self._writes:
            write.draft.step.is_done = write.draft not in failed
        self._plan.is_applied = True

    def _take(self, write: Write) -> bool:
        try:
            if self._skips:
                with transaction.atomic(using=self._alias):
                    run(self._cursor, write)
            else:
                run(self._cursor, write)
        except (DatabaseError, LookupError) as error:
            write.draft.stop(*_reason(error, write))
            if not self._skips:
                raise _refusal(self._plan) from error
            return False
        return True


def _reason(error: Exception, write: Write) -> tuple[Kind, str]:
    kind = _KINDS.get(sqlstate_of(error), "refused")
    if kind == "referenced" and write.action != "delete":
        # The table that the server names is the one that refers to another.
        diagnosis = getattr(error.__cause__, "diag", None)
        named = (getattr(diagnosis, "schema_name", None), getattr(diagnosis, "table_name", None))
        if named == write.draft.table.name:
            kind = "missing_parent"
    return kind, first_line(error)


def _refusal(plan: Plan) -> RevertConflict:
    conflicts = plan.conflicts
    lines = [str(conflict) for conflict in conflicts[:10]]
    lines += [f"and {len(conflicts) - 10} more"] if len(conflicts) > 10 else []
    remedy = "nothing was reverted; on_conflict='skip' leaves these rows as they are"
    remedy += ", 'force' overwrites them" if all(conflict.is_forcible for conflict in conflicts) else ""
    return RevertConflict("\n".join([f"{remedy}:", *lines]), plan)
