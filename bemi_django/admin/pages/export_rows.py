"""The rows of an export. JSON is passed on as the server prints it, unless values are masked in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import TextField
from django.db.models.functions import Cast

from bemi_django.admin.access.viewer import Viewer, aware
from bemi_django.admin.search.change_reader import read_changes
from bemi_django.admin.search.list_order import ListPlace, order_of_list
from bemi_django.admin.search.paging import no_seqscan
from bemi_django.encryption.subject_key import PREFIX
from bemi_django.log.change import ChangeQuerySet
from bemi_django.log.lossless_json import dumps, loads
from bemi_django.log.places import Place
from bemi_django.models import Change

JSON_COLUMNS = ("before", "after", "context", "unavailable")
COLUMNS = [field.name for field in Change._meta.concrete_fields]

#: A change by column. JSON columns are text.
ExportRow = dict[str, Any]

_PLAIN = [name for name in COLUMNS if name not in JSON_COLUMNS]
_TEXTS = {f"{name}_text": Cast(name, TextField()) for name in JSON_COLUMNS}
_ENCRYPTED = f'"{PREFIX}'
_REDACTED = ('"SQL"', '"_bemi_invalid"')
_MOMENTS = [field.name for field in Change._meta.concrete_fields if "Date" in field.get_internal_type()]


def export_rows(changes: ChangeQuerySet, viewer: Viewer, batch_size: int) -> Iterator[ExportRow]:
    """Yield changes in commit order, up to the newest one at the start.

    Args:
        changes: The changes to export.
        viewer: The user, whose masks apply.
        batch_size: The number of changes in memory at a time.
    """
    order = order_of_list()
    newest = order.apply(Change.objects.all(), is_newer=False).values_list("committed_at", "id").first()
    if newest is None:
        return
    query = order.up_to(order.apply(changes, is_newer=True), ListPlace(*newest), is_newer=True)
    last = None
    while True:
        part = query if last is None else order.beyond(query, last, is_newer=True)
        with no_seqscan():
            rows = list(part.annotate(**_TEXTS).values(*_PLAIN, *_TEXTS)[:batch_size])
        # Before a row is handed on, its id becomes text.
        end = ListPlace(rows[-1]["committed_at"], rows[-1]["id"]) if rows else None
        yield from _masked(rows, viewer)
        if len(rows) < batch_size:
            return
        last = end


def _masked(rows: list[dict[str, Any]], viewer: Viewer) -> Iterator[ExportRow]:
    concerned = {row["id"] for row in rows if _may_hold_masked_values(row, viewer)}
    parsed = {}
    if concerned:
        with no_seqscan():
            parsed = {change.id: change for change in read_changes(Change.objects.filter(id__in=concerned))}
    for row in rows:
        change = parsed.get(row["id"])
        yield _as_printed(row, viewer) if change is None else _parsed(change, viewer)


def _may_hold_masked_values(row: dict[str, Any], viewer: Viewer) -> bool:
    if any(_ENCRYPTED in row[name] for name in ("before_text", "after_text")):
        return True
    place = Place(row["database"], row["schema"], row["table"])
    return bool(viewer.masks) and viewer.masks.may_concern(place, row["before_text"], row["after_text"])


def _as_printed(row: dict[str, Any], viewer: Viewer) -> ExportRow:
    for name in JSON_COLUMNS:
        text = row.pop(f"{name}_text")
        row[name] = "null" if text is None else text
    row["id"] = str(row["id"])
    if viewer.masks and (
        viewer.masks.hide_keys_of_contexts() or any(name in row["context"] for name in _REDACTED)
    ):
        row["context"] = _visible_context(row["context"], viewer)
    for name in _MOMENTS:
        row[name] = aware(row[name])
    return row


def _visible_context(text: str, viewer: Viewer) -> str:
    try:
        return dumps(viewer.visible_context(loads(text)))
    except RecursionError:
        return "null"


def _parsed(change: Change, viewer: Viewer) -> ExportRow:
    record = viewer.record(change)
    return record | {name: dumps(record[name]) for name in JSON_COLUMNS}
