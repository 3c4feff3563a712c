"""Rows whose keys Python cannot read, such as dates before Christ: the server tells which are there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.db import InterfaceError, OperationalError, models
from django.db.models import Case, Q, Value, When
from django.db.models.functions import Cast

from bemi_django.admin.access.logged_models import LoggedModel
from bemi_django.admin.access.rows.guarded_queries import guarded
from bemi_django.admin.access.rows.readable_parts import readable_parts
from bemi_django.log.keys import key_fields
from bemi_django.log.places import rows_of


def present_keys(logged: LoggedModel, keys: Sequence[str]) -> set[str]:
    """Return which keys, as the log writes them, are those of rows that exist."""
    conditions = {key: found for key in keys if (found := _condition(logged.model, key)) is not None}
    rows = rows_of(logged.model, logged.alias)
    present: set[str] = set()
    for _part, those in readable_parts(list(conditions), partial(_present, rows, conditions)):
        present |= those or set()
    return present


def unread_row(logged: LoggedModel, key: str) -> models.Model:
    """Return an instance that knows its key as text, and nothing else."""
    row = logged.model.__new__(logged.model)
    row._state = models.base.ModelState()
    row._state.db, row._state.adding = logged.alias, False
    fields = key_fields(logged.model)
    if len(fields) == 1:
        row.__dict__[fields[0].attname] = key
    return row


def _condition(model: type[models.Model], key: str) -> Q | None:
    """Return the condition that a row has a key, or None if the model cannot have such a key."""
    fields = key_fields(model)
    try:
        texts = [key] if len(fields) == 1 else json.loads(key)
        pairs = list(zip(fields, texts, strict=True))
    except (TypeError, ValueError):
        return None
    condition = Q()
    for field, text in pairs:
        typed: Any = field
        while isinstance(typed, models.ForeignKey):
            typed = typed.target_field
        # The server reads the text, as it has written it.
        value = Cast(Value(str(text), output_field=models.TextField()), output_field=typed)
        condition &= Q(**{field.attname: value})
    return condition


def _present(rows: models.QuerySet[Any], conditions: dict[str, Q], keys: Sequence[str]) -> set[str] | None:
    """Return which keys rows have, or None if the server cannot read one of them."""
    cases = [When(conditions[key], then=Value(number)) for number, key in enumerate(keys)]
    wanted = Q()
    for key in keys:
        wanted |= conditions[key]
    number = Case(*cases, output_field=models.IntegerField())
    try:
        with guarded(rows.db):
            found = rows.filter(wanted).annotate(bemi_number=number).values_list("bemi_number", flat=True)
            return {keys[place] for place in found}
    except (InterfaceError, OperationalError):
        raise
    except Exception:
        return None
