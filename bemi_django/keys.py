"""The text under which the log files a row: its key as PostgreSQL prints it."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Any

from django.db import models

from bemi_django.exact import loads


def key_of(instance: models.Model, model: type[models.Model] | None = None) -> str:
    """Return ``changes.primary_key`` of an instance: one column as text, several as a JSON array.

    ``model``: of its row in the table of this one, which it inherits from.
    """
    meta = (model or type(instance))._meta
    fields = getattr(meta, "pk_fields", [meta.pk])
    values = [_stored(field, getattr(instance, field.attname)) for field in fields]
    if len(values) == 1:
        return _printed(values[0])
    return f"[{', '.join(_as_json(value) for value in values)}]"


def models_of(instance: models.Model) -> list[type[models.Model]]:
    """The models whose tables hold an object: its own, without proxies, and those that it inherits from."""
    return [instance._meta.concrete_model or type(instance), *instance._meta.get_parent_list()]


def json_of(field: models.Field[Any, Any], value: Any) -> Any:
    """The value of a field as JSON has it in the log."""
    stored = _stored(field, value)
    return None if stored is None else loads(_as_json(stored))


def _stored(field: models.Field[Any, Any], value: Any) -> Any:
    """The value as it goes to the database."""
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    prepared = field.get_prep_value(value)
    if isinstance(field, models.DecimalField) and prepared is not None:
        return Decimal(prepared).quantize(Decimal(1).scaleb(-(field.decimal_places or 0)))
    if isinstance(field, models.DateTimeField) and isinstance(prepared, datetime.datetime):
        return prepared.astimezone(datetime.timezone.utc) if prepared.tzinfo else prepared
    return prepared


def _printed(value: Any) -> str:
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, datetime.datetime):
        return _trimmed(value.replace(tzinfo=None).isoformat(" ")) + ("+00" if value.tzinfo else "")
    if isinstance(value, datetime.time):
        return _trimmed(value.isoformat())
    if isinstance(value, (bytes, memoryview)):
        return "\\x" + bytes(value).hex()
    return str(value)


def _as_json(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Decimal)):
        return _printed(value)
    if isinstance(value, datetime.datetime):
        text = _trimmed(value.replace(tzinfo=None).isoformat())
        return json.dumps(text + ("+00:00" if value.tzinfo else ""))
    return json.dumps(_printed(value), ensure_ascii=False)


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
