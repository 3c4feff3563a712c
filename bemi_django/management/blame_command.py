"""``bemi blame``: the change that gave an object each of its values, as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import models

from bemi_django.log.blame import blame
from bemi_django.log.lossless_json import dumps

_MAX_CHARACTERS = 40


def instance_of(name: str, database: str) -> models.Model:
    """Return an instance with the key named by ``app.Model:key``, whether or not the row still exists.

    Args:
        name: ``app.Model:key``; the parts of a composite key are separated by commas.
        database: Alias of the database that the instance belongs to.

    Raises:
        CommandError: If there is no such model or the key is not valid for it.
    """
    label, separator, key = name.partition(":")
    try:
        model = apps.get_model(label)
        instance: models.Model = model(pk=_key(model, key))
    except (LookupError, ValueError, TypeError, ValidationError) as error:
        raise CommandError(
            f"{name} does not name an object ({error}): use app.Model:key, such as auth.User:1"
        ) from error
    if not separator:
        raise CommandError(f"{name}: the key is missing; use app.Model:key, such as {label}:1")
    instance._state.db = database
    return instance


def blame_table(instance: models.Model) -> Iterator[str]:
    """Yield the lines of a table that shows, for each column, the change that gave it its value.

    Args:
        instance: The object, as returned by :func:`instance_of`.

    Yields:
        A header, then one line a column: value, previous value, user, time, request and operation.

    Raises:
        CommandError: If the log has no change of the object.
    """
    lines = [("column", "value", "before", "user", "when", "request", "operation")]
    for line in blame(instance).values():
        change = line.change
        if change is None:
            origin = "not in the log yet" if line.is_pending else "older than the log"
            lines.append((line.column, _short(line.value), "", "", "", "", origin))
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
