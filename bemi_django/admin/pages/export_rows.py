"""The rows of an export, by column. The server prints moments and JSON, which are passed on as they are.

The log is read in pages, each by a query of its own: a transaction with a cursor would hold back VACUUM in
the whole database for as long as somebody takes to save a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db.models import DateTimeField, F, Func, JSONField, TextField, UUIDField, Value
from django.db.models.functions import Cast, Coalesce

from bemi_django.admin.access.masked_texts import ROW_COLUMNS, MaskedTexts, TextRow
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.search.change_reader import read_json
from bemi_django.admin.search.list_order import ListPlace, order_of_list
from bemi_django.admin.search.query_plans import no_seqscan
from bemi_django.encryption.subject_key import PREFIX
from bemi_django.log.change import ChangeQuerySet
from bemi_django.log.lossless_json import dumps, loads
from bemi_django.models import Change

_FIELDS = {field.name: field for field in Change._meta.concrete_fields}
COLUMNS = list(_FIELDS)
JSON_COLUMNS = [name for name, field in _FIELDS.items() if isinstance(field, JSONField)]
MOMENTS = [name for name, field in _FIELDS.items() if isinstance(field, DateTimeField)]

#: The values of some changes by column. Ids and JSON are text; so are moments, as :data:`MOMENT` says.
ExportPage = Mapping[str, Sequence[Any]]

#: ISO 8601 with six digits of the second and an offset, which is that of the connection's time zone.
MOMENT = 'YYYY-MM-DD"T"HH24:MI:SS.USTZH:TZM'

_UNREAD: TextRow = (None, None, "", "")
_ENCRYPTED = f'"{PREFIX}'


def export_pages(changes: ChangeQuerySet, viewer: Viewer, size: int) -> Iterator[ExportPage]:
    """Yield changes in commit order, up to the newest one at the start.

    Args:
        changes: The changes to export.
        viewer: The user, whose masks apply.
        size: The number of changes in memory at a time.
    """
    order = order_of_list()
    newest = order.apply(Change.objects.all(), is_newer=False).values_list("committed_at", "id").first()
    if newest is None:
        return
    query = order.up_to(order.apply(changes, is_newer=True), ListPlace(*newest), is_newer=True)
    texts = MaskedTexts(viewer.masks)
    last = None
    while True:
        part = query if last is None else order.beyond(query, last, is_newer=True)
        with no_seqscan():
            rows = list(part.values_list(*map(_printed, COLUMNS))[:size])
        if rows:
            page: ExportPage = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
            last = ListPlace(datetime.fromisoformat(page["committed_at"][-1]), UUID(page["id"][-1]))
            yield _masked(page, viewer, texts)
        if len(rows) < size:
            return


def _printed(name: str) -> Any:
    field = _FIELDS[name]
    if isinstance(field, DateTimeField):
        return Func(F(name), Value(MOMENT), function="pg_catalog.to_char", output_field=TextField())
    if isinstance(field, UUIDField):
        return Cast(name, TextField())
    if isinstance(field, JSONField):
        return Coalesce(Cast(name, TextField()), Value("null"), output_field=TextField())
    return F(name)


def _masked(page: ExportPage, viewer: Viewer, texts: MaskedTexts) -> ExportPage:
    encrypted = {
        number for name in ("before", "after") for number, text in enumerate(page[name]) if _ENCRYPTED in text
    }
    if not viewer.masks and not encrypted:
        return page
    places = list(zip(page["database"], page["schema"], page["table"], strict=True))
    rows = texts.rows(places, zip(*(page[name] for name in ROW_COLUMNS), strict=True))
    unread = {number for number, row in enumerate(rows) if row is None}
    columns = zip(*(_UNREAD if row is None else row for row in rows), strict=True)
    found = {"context": texts.contexts(page["context"])}
    found |= dict(zip(ROW_COLUMNS, map(list, columns), strict=True))
    _parse(page, sorted(encrypted | unread), found, viewer)
    return {**page, **found}


def _parse(page: ExportPage, numbers: list[int], found: dict[str, list[Any]], viewer: Viewer) -> None:
    """Fill in the changes that only a model can decrypt, or that are nested too deeply for text."""
    changes = [Change(**{name: _parsed(name, page[name][number]) for name in COLUMNS}) for number in numbers]
    viewer.encrypted.learn(changes)
    for number, change in zip(numbers, changes, strict=True):
        record = viewer.record(change)
        for name, values in found.items():
            values[number] = dumps(record[name]) if name in JSON_COLUMNS else record[name]


def _parsed(name: str, value: Any) -> Any:
    return read_json(partial(loads, value)) if name in JSON_COLUMNS else value
