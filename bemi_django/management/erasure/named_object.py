"""An object as it is named on a command line: ``app.Model:key`` or ``schema.table:key``."""

from __future__ import annotations

import re
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import models

from bemi_django.log.lossless_json import loads
from bemi_django.log.places import Place
from bemi_django.models import Change
from bemi_django.schema.database_names import database_name
from bemi_django.wire import table_name

# A table and a key. A colon in double quotes is a part of the name.
_QUOTED = re.compile(r'((?:"(?:[^"]|"")*"|[^":])*):(.*)', re.DOTALL)


def object_named(name: str, database: str) -> models.Model | tuple[Place, str]:
    """Return the object with a name, with nothing but its key; or the table and the key, if a table is named.

    Args:
        name: See :func:`instance_named` and :func:`row_named`.
        database: Alias of the database of the row.

    Raises:
        CommandError: The key is missing or wrong, or the log has no such table.
    """
    instance = instance_named(name, database)
    # An object of a model may be false, as one with a length of 0.
    return row_named(name, database) if instance is None else instance


def instance_named(name: str, database: str) -> models.Model | None:
    """Return the object with a name, with nothing but its key; None if a table is named.

    Args:
        name: ``app.Model:key``, with commas between the parts of a composite key, or with the key as a JSON
            array. The row need not exist.
        database: Alias of the database of the row.

    Raises:
        CommandError: The key is missing, or not one of the model.
    """
    label, separator, key = name.partition(":")
    if not separator:
        raise CommandError(
            f"{name}: the key is missing; use app.Model:key or schema.table:key, such as auth.User:1 or "
            "public.auth_user:1"
        )
    try:
        model = apps.get_model(label)
    except (LookupError, ValueError):
        return None
    try:
        instance: models.Model = model(pk=_key(model, key))
    except (ValueError, TypeError, ValidationError) as error:
        reason = "; ".join(error.messages) if isinstance(error, ValidationError) else error
        raise CommandError(f"{name} does not name an object ({reason}): use app.Model:key") from error
    instance._state.db = database
    return instance


def row_named(name: str, database: str) -> tuple[Place, str]:
    """Return the table and the key in ``schema.table:key``, with the key as the log has it.

    Args:
        name: The name; ``public`` is the default schema. Schema and table may be in double quotes, as in SQL.
        database: Alias of the database of the table.

    Raises:
        CommandError: The log has no such table.
    """
    quoted = _QUOTED.fullmatch(name)
    label, key = quoted.groups() if quoted else name.partition(":")[::2]
    # Without quotes, dots after the first one are a part of the table's name.
    schema, table = table_name.split(label) or label.partition(".")[::2]
    place = Place(database_name(database), schema or "public", table)
    if not Change.objects.of_table(place).exists():
        raise CommandError(
            f"{label} is neither a model nor a table in the log: use app.Model:key or schema.table:key, such "
            "as auth.User:1 or public.auth_user:1"
        )
    return place, key


def _key(model: Any, text: str) -> Any:
    fields = getattr(model._meta, "pk_fields", [model._meta.pk])
    if len(fields) == 1:
        return fields[0].to_python(text)
    # As the log has it, for parts with commas.
    parts = [str(part) for part in loads(text)] if text.startswith("[") else text.split(",")
    if len(parts) != len(fields):
        raise ValueError(f"the key has {len(fields)} parts, not {len(parts)}")
    return tuple(field.to_python(part) for field, part in zip(fields, parts, strict=True))
