"""The table ``changes`` in the demo: read it, print it, compare it with what was done."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sample_project.demo_scenario import Expected

TABLE_WIDTH = 130
PLACEHOLDER = re.compile(r"%s|%\(\w+\)s|\$\d+")
TIMESTAMP = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)\S*$")
STYLES = {"CREATE": "green", "UPDATE": "cyan", "DELETE": "red"}
JSON_COLUMNS = ("before", "after", "context")

READ = """
    SELECT primary_key::text, "table", operation, before, after, context, committed_at
    FROM changes
    WHERE "table" = 'todo' AND primary_key::text = ANY(%s) AND committed_at >= %s
    ORDER BY id
"""


class Recorded(NamedTuple):
    primary_key: str
    table: str
    operation: str
    before: dict[str, object]
    after: dict[str, object]
    context: dict[str, object]
    committed_at: datetime


def read_log(cursor: Any, primary_keys: Sequence[str], since: datetime) -> list[Recorded]:
    """Return the changes of these todos since a moment, in commit order."""
    cursor.execute(READ, [list(primary_keys), since])
    return [Recorded(*row) for row in cursor.fetchall()]


def print_log(changes: Sequence[Recorded]) -> None:
    """Print a table, or a block for each change where the terminal is too narrow for one."""
    width = shutil.get_terminal_size().columns
    console = Console(width=width, highlight=False)
    console.print(_as_table(changes) if width >= TABLE_WIDTH else _as_blocks(changes))


def mismatches(expected: Sequence[Expected], recorded: Sequence[Recorded]) -> Iterator[str]:
    """Yield a line for each change that is missing, surplus or different in the log."""
    if len(expected) != len(recorded):
        yield f"expected {len(expected)} changes, the log has {len(recorded)}"
    texts = {str(row["task"]) for change in expected for row in (change.before, change.after) if row}
    for number, (wanted, found) in enumerate(zip(expected, recorded, strict=False), start=1):
        for problem in _differences(wanted, found, texts):
            yield f"change {number} ({wanted.operation} of todo {wanted.primary_key}): {problem}"


def _differences(wanted: Expected, found: Recorded, texts: set[str]) -> Iterator[str]:
    for name in ("primary_key", "operation"):
        if getattr(wanted, name) != getattr(found, name):
            yield f"{name} is {getattr(found, name)}"
    for name in JSON_COLUMNS:
        yield from _row_differences(name, getattr(wanted, name), getattr(found, name))
    sql = found.context.get("SQL")
    if not isinstance(sql, str) or not sql:
        yield "the context has no SQL"
    elif wanted.has_sql_template:
        if not PLACEHOLDER.search(sql):
            yield f"the SQL has no placeholder: {sql}"
        if any(text in sql for text in texts):
            yield f"the SQL holds a value: {sql}"


def _row_differences(name: str, wanted: dict[str, object], found: dict[str, object]) -> Iterator[str]:
    if not wanted or not found:
        if wanted or found:
            yield f"{name} is {_compact(found)}, not {_compact(wanted)}"
        return
    for key, value in wanted.items():
        if found.get(key) != value:
            yield f"{name}.{key} is {_compact(found.get(key))}, not {_compact(value)}"


def _as_table(changes: Sequence[Recorded]) -> Table:
    table = Table(expand=True, show_lines=True)
    for name in Recorded._fields:
        if name in JSON_COLUMNS:
            table.add_column(name, ratio=3 if name == "context" else 2, overflow="fold")
        else:
            table.add_column(name, no_wrap=True)
    for change in changes:
        table.add_row(
            change.primary_key,
            change.table,
            _operation(change),
            *_values(change),
            _time(change),
        )
    return table


def _as_blocks(changes: Sequence[Recorded]) -> Group:
    blocks: list[Text | Padding] = []
    for change in changes:
        head = Text.assemble(
            f"{change.table} {change.primary_key}  ", _operation(change), f"  {_time(change)}"
        )
        values = Table(box=None, expand=True, padding=(0, 1), header_style="dim")
        for name in JSON_COLUMNS:
            values.add_column(name, ratio=3 if name == "context" else 2, overflow="fold")
        values.add_row(*_values(change))
        blocks += [head, Padding(values, (0, 0, 1, 1))]
    return Group(*blocks)


def _values(change: Recorded) -> Iterator[Text]:
    """Yield before, after and context."""
    is_update = bool(change.before and change.after)
    yield _lines(change.before, change.after if is_update else None)
    yield _lines(change.after, change.before if is_update else None)
    yield _lines(change.context, None)


def _lines(values: dict[str, object], others: dict[str, object] | None) -> Text:
    """Render one value a line, the long SQL last; in an update only the values that differ stand out."""
    lines = []
    for key in sorted(values, key="SQL".__eq__):
        style = "" if others is None else "bold" if others.get(key) != values[key] else "dim"
        lines.append(Text(f"{key}: {_shown(values[key])}", style=style))
    return Text("\n").join(lines) if lines else Text("-")


def _shown(value: object) -> str:
    if isinstance(value, str):
        # Of a timestamp, its seconds.
        return TIMESTAMP.sub(r"\1 \2", value)
    return json.dumps(value, ensure_ascii=False, default=str)


def _operation(change: Recorded) -> Text:
    return Text(change.operation, style=STYLES.get(change.operation, ""))


def _time(change: Recorded) -> str:
    return change.committed_at.strftime("%H:%M:%S.%f")[:-3]


def _compact(value: object) -> str:
    if value in (None, {}):
        return "-"
    return json.dumps(value, ensure_ascii=False, separators=(", ", ":"), default=str)
