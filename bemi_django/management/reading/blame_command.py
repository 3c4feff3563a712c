"""``bemi blame``: the change that gave an object each of its values, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bemi_django.log.blame import Blame, blame, blame_row
from bemi_django.log.lossless_json import dumps
from bemi_django.management.erasure.named_object import object_named
from bemi_django.management.reading.disclosed_reading import record_reading
from bemi_django.masking.contexts import MASK

_MAX_CHARACTERS = 40


def print_blame(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    """Print which change gave each column of a row its value, and record who has read it.

    Each line of the table has value, previous value, user, time, request and operation.

    Args:
        command: The command, for its output.
        database: Alias of the database of the row.
        options: ``object`` (``app.Model:key``, with commas between the parts of a composite key; or
            ``schema.table:key``, with the key as it is in ``changes.primary_key``; the row need not exist
            any more) and ``reason`` of the command line.

    Raises:
        CommandError: If there is no such model or table, if the key is not valid for it, or if the log has no
            change of the row.
    """
    name = options["object"]
    row = object_named(name, database)
    lines = list(_table(blame_row(*row) if isinstance(row, tuple) else blame(row)))
    record_reading(command, "bemi blame", {}, database, options["reason"], row)
    for line in lines:
        command.stdout.write(line)


def _table(found: Mapping[str, Blame]) -> Iterator[str]:
    lines = [("column", "value", "before", "user", "when", "request", "operation")]
    for line in found.values():
        change = line.change
        # Of a row that is there, it is the value that the log must not have.
        value = MASK if line.is_masked and line.value is not None else _short(line.value)
        if change is None:
            lines.append((line.column, value, "", "", "", "", _origin(line)))
            continue
        before = "" if change.operation == "CREATE" or line.is_masked else _short(line.previous)
        before = "erased" if line.is_erased else before
        when = change.committed_at.isoformat(" ", "seconds")
        who = line.user_id if line.user_id is not None else change.context.get("db_user", "")
        request = str(line.request_id or "")
        lines.append((line.column, value, before, str(who), when, request, change.operation))
    if len(lines) == 1:
        raise CommandError("the log has no changes of it: check the key, and that 'bemi run' is running")
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    for cells in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _origin(line: Blame) -> str:
    if line.is_masked:
        return "masked"
    if line.is_ignored:
        return "not recorded"
    if line.is_pending:
        return "not in the log yet"
    if line.complete_from is None:
        return "older than the log"
    when = line.complete_from.isoformat(" ", "seconds")
    return f"older than what is kept: complete from {when} on"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else dumps(value)
    text = " ".join(text.split())
    return text if len(text) <= _MAX_CHARACTERS else text[: _MAX_CHARACTERS - 1] + "…"
