"""The page of a change: before and after side by side, the context, and neighbouring changes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.utils.translation import gettext as _

from bemi_django.admin.access.logged_models import LoggedModel
from bemi_django.admin.access.rows.column_value import ColumnValue
from bemi_django.admin.access.undo_permission import may_undo
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display import sql_text
from bemi_django.admin.display.actions.action import action_of
from bemi_django.admin.display.actions.nouns import automatic_columns
from bemi_django.admin.display.actions.run import run_of, run_url, shown_run_of
from bemi_django.admin.display.actions.sentence import sentence
from bemi_django.admin.display.actions.steps import change_as_sql
from bemi_django.admin.display.actors import Actors, where, why
from bemi_django.admin.display.change_rows import ListedRow, rows
from bemi_django.admin.display.contexts.context_lines import context_lines
from bemi_django.admin.display.object_labels import ObjectLabels, field_page
from bemi_django.admin.display.site_time import ago
from bemi_django.admin.display.value_diff import pretty_json
from bemi_django.admin.display.values.formatter import MISSING, Formatter, ShownPair
from bemi_django.admin.display.values.operation_names import operation_text
from bemi_django.admin.pages.list_neighbours import list_neighbours
from bemi_django.admin.pages.reverted import reverts_of
from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.change_reader import read_changes
from bemi_django.admin.search.paging import nearest_change
from bemi_django.admin.search.query_plans import TimedOut, bitmap_scan_only
from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change
from bemi_django.site_past.departure import can_look_before
from bemi_django.status.sealing import sealed_until
from bemi_django.wire.ids import change_id, sequence_in, source_in

#: The number of neighbouring changes shown; the list has all of them.
NEIGHBOURS = 20


class FieldDiff(NamedTuple):
    """A column with its values before and after the change; an automatic one is set by each save.

    ``url`` is the history of the field, or None if the object has none.
    """

    label: str
    value: ColumnValue
    pair: ShownPair
    is_automatic: bool
    url: str | None


class ChangeSequence(NamedTuple):
    """Changes in commit order around a change, and whether some are left out on either side."""

    rows: list[ListedRow]
    has_earlier: bool
    has_later: bool


def template_context(change: Change, viewer: Viewer) -> dict[str, Any]:
    """Return the context of the template."""
    logged = viewer.logged_models.model_of(change)
    formatter = Formatter(viewer)
    formatter.learn_changes([change])
    objects = ObjectLabels([change], viewer)
    about = objects.of(change)
    actor = Actors([change], viewer).actor_of(change)
    names = viewer.logged_models.names_in(change)
    fields = [
        _field(value, formatter, logged, about.timeline and field_page(about.timeline, names.now(value.name)))
        for value in viewer.values(change)
    ]
    sql = viewer.context(change).get("SQL")
    same_transaction = in_transaction(change, viewer)
    run = shown_run_of(change, viewer)
    # A command may make millions of changes: the page of its run has the first of them.
    same_request = in_run(change, viewer) if "request_id" in change.context else None
    own = viewer.changes().filter(pk=change.pk)
    transaction = _sequence(change, own | same_transaction, viewer)
    request = _sequence(
        change, own | same_transaction | same_request if same_request is not None else None, viewer
    )
    previous, following = around(change, viewer)
    reverts = _reverts(change, viewer, same_transaction, same_request)
    neighbours = list_neighbours(change, viewer)
    return {
        "in_list": neighbours,
        "list_url": neighbours and neighbours.url,
        "heading": " ".join(filter(None, (operation_text(change.operation), about.noun, about.label))),
        "entry": change,
        "of_model": logged and logged.model,
        "key": viewer.key(change),
        "previous_key": viewer.previous_key(change)
        if change.previous_primary_key != change.primary_key
        else None,
        "actor": actor,
        "sentence": sentence(action_of([change]), viewer, objects, formatter),
        "ago": ago(change.committed_at),
        "where": where(change, viewer),
        "reason": why(change, viewer),
        "sealed_until": sealed_until(source_in(change.pk.bytes)),
        "about": about,
        "changed": [field for field in fields if field.value.is_changed],
        "unchanged": [field for field in fields if not field.value.is_changed],
        "context": context_lines(change, viewer, actor),
        "sql": sql_text.format_sql(str(sql)) if sql else None,
        "transaction": [row for row in transaction.rows if row.change.pk != change.pk],
        "transaction_sequence": transaction,
        "request_rows": [row for row in request.rows if row.change.transaction_id != change.transaction_id],
        "request_sequence": request,
        "run": run,
        "run_url": run and run_url(run, viewer),
        "transaction_query": f"transaction:{change.transaction_id}",
        "run_query": run and run.search,
        "previous": previous,
        "following": following,
        "reverts": reverts,
        "reverted": reverts_of(change, viewer),
        "travels": can_look_before(change, viewer.request.user),
        "puts_back": reverts[0][1] if reverts and change.operation == "UPDATE" else None,
        "as_json": as_json(change, viewer),
        "as_sql": change_as_sql(change, viewer),
    }


def in_transaction(change: Change, viewer: Viewer) -> ChangeQuerySet:
    """Return the other changes of a change's transaction."""
    # Ids begin with the position of the commit.
    sequence = sequence_in(change.pk.bytes)
    first, last = (UUID(bytes=change_id(number, 0, 0)) for number in (sequence, sequence + 8))
    same = viewer.changes().filter(id__gte=first, id__lt=last, transaction_id=change.transaction_id)
    return same.filter(database=change.database).exclude(id=change.id)


def in_run(change: Change, viewer: Viewer) -> ChangeQuerySet | None:
    """Return the changes of its request or run in other transactions, or None if it is of none."""
    run = run_of(change)
    if run is None:
        return None
    same = viewer.changes().context(run.context)
    # Events that belong to no transaction have the same id of one.
    return same.exclude(transaction_id=change.transaction_id, position=change.position)


def around(change: Change, viewer: Viewer) -> tuple[Change | None, Change | None]:
    """Return the previous and the next change of the same object."""
    if change.primary_key is None:
        return None, None
    keys = {key for key in (change.primary_key, change.previous_primary_key) if key is not None}
    same = viewer.changes().of_table(change.place)
    return (
        nearest_change(same.filter(id__lt=change.id), keys),
        nearest_change(same.filter(id__gt=change.id), keys, is_oldest=True),
    )


def as_json(change: Change, viewer: Viewer) -> str:
    """Return a change as JSON for people, with masked values hidden."""
    return pretty_json({name: _plain(value) for name, value in viewer.record(change).items()})


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _reverts(
    change: Change,
    viewer: Viewer,
    same_transaction: ChangeQuerySet,
    same_request: ChangeQuerySet | None,
) -> list[tuple[str, str]]:
    """Return labels and URLs of the reverts that the viewer may do."""
    if not viewer.has("revert") or not may_undo([change], viewer):
        return []
    address = viewer.url("revert")
    label = _("Restore") if change.operation == "DELETE" else _("Revert")
    found = [(label, f"{address}?change={change.pk}")]
    neighbours = read_changes(same_transaction[: NEIGHBOURS + 1])
    if neighbours and may_undo(neighbours, viewer):
        found.append((_("Revert the transaction"), f"{address}?transaction={change.pk}"))
    if same_request is not None and (others := _read(same_request)) and may_undo(others, viewer):
        found.append((_("Revert the request"), f"{address}?request={change.pk}"))
    return found


def _field(
    value: ColumnValue, formatter: Formatter, logged: LoggedModel | None, url: str | None
) -> FieldDiff:
    pair = formatter.pair(
        logged,
        value.name,
        value.before if value.has_before else MISSING,
        value.after if value.has_after else MISSING,
    )
    is_automatic = value.name in automatic_columns(logged.model if logged else None)
    return FieldDiff(formatter.name(logged, value.name), value, pair, is_automatic, url)


def _sequence(change: Change, changes: ChangeQuerySet | None, viewer: Viewer) -> ChangeSequence:
    """Return the changes around a change, which is one of them."""
    if changes is None:
        return ChangeSequence([], has_earlier=False, has_later=False)
    try:
        with bitmap_scan_only(query_timeouts.LOOKUP):
            earlier = read_changes(changes.filter(id__lt=change.id).order_by("-id")[: NEIGHBOURS + 1])
            later = read_changes(changes.filter(id__gt=change.id).order_by("id")[: NEIGHBOURS + 1])
    except TimedOut:
        return ChangeSequence([], has_earlier=False, has_later=False)
    # Show as many as possible on either side.
    room = max(NEIGHBOURS // 2, NEIGHBOURS - len(later)), max(NEIGHBOURS // 2, NEIGHBOURS - len(earlier))
    shown = [*reversed(earlier[: room[0]]), change, *later[: room[1]]]
    return ChangeSequence(
        list(rows(shown, viewer)) if len(shown) > 1 else [],
        has_earlier=len(earlier) > room[0],
        has_later=len(later) > room[1],
    )


def _read(changes: ChangeQuerySet) -> list[Change]:
    try:
        with bitmap_scan_only(query_timeouts.LOOKUP):
            return read_changes(changes.order_by("id")[: NEIGHBOURS + 1])
    except TimedOut:
        return []
