"""Print the rows of a query as a table, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain, islice
from typing import Any

_Columns = list[tuple[str, str]]
#: The rows that decide on the widths of a table.
_FIRST = 200
_WIDEST = 60


def answer_lines(columns: _Columns, rows: Iterator[tuple[Any, ...]], output: str) -> Iterator[str]:
    """Yield the lines of an answer.

    Args:
        columns: The name and the type of each column.
        rows: The rows.
        output: ``"table"``, ``"json"`` (an object on each line) or ``"csv"``.
    """
    yield from _OUTPUTS[output](columns, rows)


def _as_json(columns: _Columns, rows: Iterator[tuple[Any, ...]]) -> Iterator[str]:
    names = [json.dumps(name, ensure_ascii=False) for name, _ in columns]
    for row in rows:
        values = (_json(value, kind) for value, (_, kind) in zip(row, columns, strict=True))
        yield f"{{{', '.join(f'{name}: {value}' for name, value in zip(names, values, strict=True))}}}"


def _as_csv(columns: _Columns, rows: Iterator[tuple[Any, ...]]) -> Iterator[str]:
    for row in chain([[name for name, _ in columns]], rows):
        buffer = io.StringIO(newline="")
        # What is in the end of a line is quoted in a cell.
        csv.writer(buffer, lineterminator="\r\n").writerow(
            ["" if cell is None else _text(cell) for cell in row]
        )
        yield buffer.getvalue()[:-2]


def _as_table(columns: _Columns, rows: Iterator[tuple[Any, ...]]) -> Iterator[str]:
    names = [_printable(name) for name, _ in columns]
    printed = ([_printable(_text(value)) for value in row] for row in rows)
    first = list(islice(printed, _FIRST))
    widths = [
        min(max(len(cells[number]) for cells in [names, *first]), _WIDEST) for number in range(len(names))
    ]
    yield _line(names, widths)
    yield "-+-".join("-" * width for width in widths)
    count = 0
    for cells in chain(first, printed):
        count += 1
        yield _line(cells, widths)
    yield f"({count} row{'' if count == 1 else 's'})"


def _line(cells: list[str], widths: list[int]) -> str:
    return " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _json(value: Any, kind: str) -> str:
    # The text of the log, with every digit.
    if kind == "JSON" and isinstance(value, str):
        return value
    return json.dumps(_jsonable(value), ensure_ascii=False)


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    # JSON has no infinity.
    return value if isinstance(value, float) and math.isfinite(value) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, (str, int, float, Decimal)):
        return "" if value is None else str(value)
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(_jsonable(value), ensure_ascii=False)
    return str(value)


def _printable(text: str) -> str:
    """Return a text in which no character moves the cursor of a terminal or is invisible."""
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


_OUTPUTS = {"csv": _as_csv, "json": _as_json, "table": _as_table}
