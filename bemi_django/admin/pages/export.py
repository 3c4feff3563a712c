"""Export the filtered list as CSV, JSON Lines or Parquet, streamed while it is read."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import StreamingHttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from bemi_django.admin.access.own_events import Counted, noted_export
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.csv_cells import csv_cell
from bemi_django.admin.pages.export_rows import COLUMNS, JSON_COLUMNS, ExportRow, export_rows
from bemi_django.admin.search.filter_form import FilterForm

# A new encoder for each line takes longer than the line.
_encoder = json.JSONEncoder(ensure_ascii=False)
_PLAIN = [name for name in COLUMNS if name not in JSON_COLUMNS]
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
        ExportRefused: If the format or the filters are not valid.
    """
    request = viewer.request
    wanted = request.GET.get("format", "csv")
    if wanted == "parquet" and wanted not in dict(formats()):
        raise ExportRefused(_("Parquet needs pyarrow. Run pip install 'bemi-django-wal[parquet]'."))
    if wanted not in _WRITERS:
        raise ExportRefused(_("The format must be csv, jsonl or parquet."))
    form = FilterForm(request.GET, viewer)
    if not form.is_valid():
        raise ExportRefused("; ".join(str(text) for texts in form.errors.values() for text in texts))
    write, content_type = _WRITERS[wanted]
    rows = Counted(export_rows(form.changes().changes, viewer, BATCH))
    content = noted_export(write(iter(rows)), rows, _details(viewer, wanted))
    # An ASGI server consumes a plain iterator entirely before it sends anything.
    streamed = _in_steps(content) if isinstance(request, ASGIRequest) else content
    name = f"changes-{timezone.now():%Y%m%d-%H%M%S}.{wanted}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(streamed, content_type=content_type, headers=headers)


def _details(viewer: Viewer, wanted: str) -> dict[str, Any]:
    given = {name: ", ".join(values) for name, values in viewer.request.GET.lists() if name != "format"}
    filters = {name: value for name, value in given.items() if value}
    return {"format": wanted, "filters": filters, "is_unmasked": bool(viewer.lifted)}


def _as_csv(found: Iterator[ExportRow]) -> Iterator[bytes]:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for number, record in enumerate(found, 1):
        writer.writerow([csv_cell(record[name]) for name in COLUMNS])
        if number % BATCH == 0:
            yield _taken(buffer)
    yield _taken(buffer)


def _plain(value: Any) -> Any:
    """Return a value for JSON: a moment in milliseconds, as Django's encoder writes it."""
    if not isinstance(value, datetime):
        return value
    text = value.isoformat(timespec="milliseconds" if value.microsecond else "seconds")
    return f"{text[:-6]}Z" if text.endswith("+00:00") else text


def _as_json_lines(found: Iterator[ExportRow]) -> Iterator[bytes]:
    buffer = io.StringIO()
    for number, record in enumerate(found, 1):
        plain = {name: _plain(record[name]) for name in _PLAIN}
        exact = "".join([f', "{name}": {record[name]}' for name in JSON_COLUMNS])
        buffer.write(f"{_encoder.encode(plain)[:-1]}{exact}}}\n")
        if number % BATCH == 0:
            yield _taken(buffer)
    yield _taken(buffer)


def _as_parquet(found: Iterator[ExportRow]) -> Iterator[bytes]:
    import pyarrow

    from bemi_django.archive.columns import log_columns, open_writer, schema_of

    schema = schema_of(log_columns())
    sink = _Sink()
    with open_writer(sink, schema) as writer:
        batch: list[ExportRow] = []
        for record in found:
            batch.append(record)
            if len(batch) == BATCH:
                writer.write_table(pyarrow.Table.from_pylist(batch, schema))
                batch = []
                yield sink.taken()
        if batch:
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))
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


def _taken(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode()


async def _in_steps(content: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
    try:
        while (part := await sync_to_async(lambda: next(content, None))()) is not None:
            yield part
    finally:
        await sync_to_async(content.close)()


_Writer = Callable[[Iterator[ExportRow]], Iterator[bytes]]
_WRITERS: dict[str, tuple[_Writer, str]] = {
    "csv": (_as_csv, "text/csv; charset=utf-8"),
    "jsonl": (_as_json_lines, "application/x-ndjson"),
    "parquet": (_as_parquet, "application/vnd.apache.parquet"),
}
