"""Export the filtered list as CSV, JSON Lines or Parquet, streamed while it is read."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import StreamingHttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from bemi_django import destinations
from bemi_django.admin.access.own_events import Counted, noted_export
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.values.text_lists import semicolon_list
from bemi_django.admin.pages.export_lines import csv_lines, json_lines
from bemi_django.admin.pages.export_rows import MOMENTS, ExportPage, export_pages
from bemi_django.admin.search.filter_form import FilterForm

#: The number of changes in memory at a time, and in a row group of Parquet.
BATCH = 1000


def formats() -> list[tuple[str, str]]:
    """Return names and labels of the formats whose packages are installed."""
    found = [("csv", "CSV"), ("jsonl", "JSON Lines")]
    return [*found, ("parquet", "Parquet")] if importlib.util.find_spec("pyarrow") else found


class ExportRefused(Exception):
    """Nothing can be exported; the message says why, in the words of the page."""


def response(viewer: Viewer) -> StreamingHttpResponse:
    """Return the file that a request asks for.

    Raises:
        ExportRefused: If the format or the filters are not valid, or all logs are chosen.
    """
    request = viewer.request
    wanted = request.GET.get("format", "csv")
    if wanted == "parquet" and wanted not in dict(formats()):
        raise ExportRefused(_("Parquet needs pyarrow. Run pip install 'bemi-django-wal[parquet]'."))
    if wanted not in _WRITERS:
        raise ExportRefused(_("The format must be csv, jsonl or parquet."))
    if destinations.are_all_meant():
        raise ExportRefused(_("An export is of one log. Choose it above."))
    form = FilterForm(request.GET, viewer)
    if not form.is_valid():
        raise ExportRefused(semicolon_list(text for texts in form.errors.values() for text in texts))
    write, content_type = _WRITERS[wanted]
    pages = Counted(export_pages(form.changes().changes, viewer, BATCH))
    content = noted_export(write(iter(pages)), pages, lambda: _details(viewer, wanted))
    # An ASGI server consumes a plain iterator entirely before it sends anything.
    streamed = _in_steps(content) if isinstance(request, ASGIRequest) else content
    name = f"changes-{timezone.now():%Y%m%d-%H%M%S}.{wanted}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(streamed, content_type=content_type, headers=headers)


def _details(viewer: Viewer, wanted: str) -> dict[str, Any]:
    given = {name: ", ".join(values) for name, values in viewer.request.GET.lists() if name != "format"}
    filters = {name: value for name, value in given.items() if value}
    # What former rules have encrypted is only known of the changes.
    is_unmasked = bool(viewer.lifted or viewer.unmasked)
    return {"format": wanted, "filters": filters, "is_unmasked": is_unmasked}


def _as_parquet(pages: Iterator[ExportPage]) -> Iterator[bytes]:
    import pyarrow

    from bemi_django.archive.columns import log_columns, open_writer, schema_of

    schema = schema_of(log_columns())
    sink = _Sink()
    with open_writer(sink, schema) as writer:
        for page in pages:
            moments = {name: list(map(datetime.fromisoformat, page[name])) for name in MOMENTS}
            writer.write_table(pyarrow.Table.from_pydict({**page, **moments}, schema))
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """A file whose parts are taken as it is written."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, part: Any) -> int:
        self._parts.append(bytes(part))
        self._length += len(part)
        return len(part)

    def tell(self) -> int:
        return self._length

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


async def _in_steps(content: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
    try:
        while (part := await sync_to_async(lambda: next(content, None))()) is not None:
            yield part
    finally:
        await sync_to_async(content.close)()


_Writer = Callable[[Iterator[ExportPage]], Iterator[bytes]]
_WRITERS: dict[str, tuple[_Writer, str]] = {
    "csv": (csv_lines, "text/csv; charset=utf-8"),
    "jsonl": (json_lines, "application/x-ndjson"),
    "parquet": (_as_parquet, "application/vnd.apache.parquet"),
}
