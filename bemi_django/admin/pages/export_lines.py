"""Pages of changes as the lines of a CSV file, and as lines of JSON.

A value is written once for all changes of a page that have it: tables, contexts and times come again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from json.encoder import encode_basestring
from typing import Any

from bemi_django.admin.display.csv_cells import csv_cell
from bemi_django.admin.pages.export_rows import COLUMNS, JSON_COLUMNS, MOMENTS, ExportPage

# A new encoder for each value takes longer than the value.
_encoder = json.JSONEncoder(ensure_ascii=False)
_IN_QUOTES = re.compile(r'[",\r\n]')
#: Columns whose values hardly any two changes have in common.
_OF_ONE = frozenset(("id", "before", "after"))
_PLAIN = [name for name in COLUMNS if name not in JSON_COLUMNS]
_CSV_END = b"\r\n"
_IN_JSON = [*_PLAIN, *JSON_COLUMNS]
_JSON_LINE = ("{" + ", ".join(f'"{name}": %b' for name in _IN_JSON) + "}").encode()


def csv_lines(pages: Iterator[ExportPage]) -> Iterator[bytes]:
    """Yield the parts of a CSV file with a header."""
    head = ",".join(COLUMNS).encode() + _CSV_END
    for page in pages:
        cells = [_written(name, _csv_writer(name), page[name]) for name in COLUMNS]
        yield head + _joined(map(b",".join, zip(*cells, strict=True)), _CSV_END)
        head = b""
    if head:
        yield head


def json_lines(pages: Iterator[ExportPage]) -> Iterator[bytes]:
    """Yield the parts of a file with a JSON object on each line."""
    for page in pages:
        values = [_written(name, _json_writer(name), page[name]) for name in _IN_JSON]
        yield _joined(map(_JSON_LINE.__mod__, zip(*values, strict=True)), b"\n")


def _joined(lines: Iterator[bytes], end: bytes) -> bytes:
    return end.join([*lines, b""])


def _written(name: str, write: Callable[[Any], bytes], column: Sequence[Any]) -> Iterator[bytes]:
    # Value by value: a line with one wide character, as masks have, would be wide as a whole.
    if name in _OF_ONE:
        return map(write, column)
    known = {value: write(value) for value in set(column)}
    return map(known.__getitem__, column)


def _csv_writer(name: str) -> Callable[[Any], bytes]:
    if name in JSON_COLUMNS:
        return _csv_json
    write = csv_moment if name in MOMENTS else csv_text
    return lambda value: write(value).encode()


def _csv_json(text: str) -> bytes:
    return b'"' + text.encode().replace(b'"', b'""') + b'"'


def csv_text(value: Any) -> str:
    """Return a value as a cell of a line of CSV, which no spreadsheet runs."""
    if value.__class__ is int:
        return repr(value)
    cell = "" if value is None else str(csv_cell(value))
    return '"' + cell.replace('"', '""') + '"' if _IN_QUOTES.search(cell) else cell


def csv_moment(text: str) -> str:
    """Return a moment without a fraction of the second that is zero.

    Args:
        text: The moment as the server prints it for :data:`bemi_django.admin.pages.export_rows.MOMENT`.
    """
    return text.replace(".000000", "")


def json_moment(text: str) -> str:
    """Return a moment in milliseconds, as Django writes it into JSON.

    Args:
        text: The moment as the server prints it for :data:`bemi_django.admin.pages.export_rows.MOMENT`.
    """
    seconds, _, rest = text.partition(".")
    fraction, offset = rest[:6], rest[6:]
    return (
        seconds
        + ("" if fraction == "000000" else f".{fraction[:3]}")
        + ("Z" if offset == "+00:00" else offset)
    )


def _json_writer(name: str) -> Callable[[Any], bytes]:
    if name in JSON_COLUMNS:
        return str.encode
    write = _in_json if name in MOMENTS else json_text
    return lambda value: write(value).encode()


def json_text(value: Any) -> str:
    """Return a key, a number, a text or None as JSON."""
    if value.__class__ is str:
        return encode_basestring(value)
    return repr(value) if value.__class__ is int else _encoder.encode(value)


def _in_json(moment: str) -> str:
    return f'"{json_moment(moment)}"'
