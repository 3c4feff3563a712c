"""``bemi blame``: the change that gave an object each of its values, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import connections, models

from bemi_django.log.blame import Blame, blame, blame_row
from bemi_django.log.lossless_json import dumps
from bemi_django.log.places import Place
from bemi_django.models import Change

_MAX_CHARACTERS = 40


def blame_table(name: str, database: str) -> Iterator[str]:
    """Yield the lines of a table that shows, for each column of a row, the change that gave it its value.

    Args:
        name: ``app.Model:key``, with commas between the parts of a composite key; or ``schema.table:key``,
            with the key as it is in ``changes.primary_key``. The row need not exist any more.
        database: Alias of the database of the row.

    Yields:
        A header, then one line a column: value, previous value, user, time, request and operation.

    Raises:
        CommandError: If there is no such model or table, if the key is not valid for it, or if the log has no
            change of the row.
    """
    label, separator, key = name.partition(":")
    if not separator:
        raise CommandError(f"{name}: the key is missing; use app.Model:key, such as auth.User:1")
    try:
        model = apps.get_model(label)
    except (LookupError, ValueError) as error:
        yield from _table(_blame_of_table(label, key, database, error))
        return
    try:
        instance: models.Model = model(pk=_key(model, key))
    except (ValueError, TypeError, ValidationError) as error:
        raise CommandError(f"{name} does not name an object ({error}): use app.Model:key") from error
    instance._state.db = database
    yield from _table(blame(instance))


def _blame_of_table(label: str, key: str, database: str, no_model: Exception) -> dict[str, Blame]:
    schema, separator, table = label.partition(".")
    if not separator:
        schema, table = "public", label
    place = Place(str(connections[database].settings_dict["NAME"]), schema, table)
    if not Change.objects.of_table(place).exists():
        raise CommandError(
            f"{label} is neither a model nor a table in the log ({no_model}): use app.Model:key or "
            "schema.table:key, such as auth.User:1 or public.auth_user:1"
        ) from no_model
    return blame_row(place, key)


def _table(found: Mapping[str, Blame]) -> Iterator[str]:
    lines = [("column", "value", "before", "user", "when", "request", "operation")]
    for line in found.values():
        change = line.change
        if change is None:
            lines.append((line.column, _short(line.value), "", "", "", "", _origin(line)))
            continue
        before = "" if change.operation == "CREATE" else _short(line.previous)
        when = change.committed_at.isoformat(" ", "seconds")
        who = line.user_id if line.user_id is not None else change.context.get("db_user", "")
        request = str(line.request_id or "")
        lines.append((line.column, _short(line.value), before, str(who), when, request, change.operation))
    if len(lines) == 1:
        raise CommandError("the log has no changes of it: check the key, and that 'bemi run' is running")
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    for cells in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _origin(line: Blame) -> str:
    if line.is_ignored:
        return "not recorded"
    if line.is_pending:
        return "not in the log yet"
    if line.complete_from is None:
        return "older than the log"
    when = line.complete_from.isoformat(" ", "seconds")
    return f"older than what is kept: complete from {when} on"


def _key(model: Any, text: str) -> Any:
    fields = getattr(model._meta, "pk_fields", [model._meta.pk])
    if len(fields) == 1:
        return fields[0].to_python(text)
    parts = text.split(",")
    if len(parts) != len(fields):
        raise ValueError(f"the key has {len(fields)} parts, not {len(parts)}")
    return tuple(field.to_python(part) for field, part in zip(fields, parts, strict=True))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else dumps(value)
    text = " ".join(text.split())
    return text if len(text) <= _MAX_CHARACTERS else text[: _MAX_CHARACTERS - 1] + "…"
