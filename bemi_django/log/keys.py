"""Compute ``changes.primary_key`` of an instance: its key as PostgreSQL prints it."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Any

from django.db import connections, models, router
from django.utils import timezone

from bemi_django.log.lossless_json import loads
from bemi_django.log.printing import json_text, key_text


def key_of(instance: models.Model, model: type[models.Model] | None = None) -> str:
    """Return ``changes.primary_key`` of an instance: one column as text, several as a JSON array.

    Args:
        instance: A saved or deleted instance.
        model: The parent model whose row is meant, with multi-table inheritance; by default its own.
    """
    # request.user is a proxy, which has another type than the object in it.
    link: Any = instance._meta.get_ancestor_link(model) if model else None
    meta = (model or instance.__class__)._meta
    fields = [link] if link else getattr(meta, "pk_fields", [meta.pk])
    return key_text([stored_value(field, getattr(instance, field.attname)) for field in fields])


def key_of_value(model: type[models.Model], value: Any) -> str:
    """Return ``changes.primary_key`` for the value of a model's key; a tuple if it has several columns."""
    fields: list[Any] = getattr(model._meta, "pk_fields", [model._meta.pk])
    values = value if len(fields) > 1 else [value]
    return key_text([stored_value(field, part) for field, part in zip(fields, values, strict=True)])


def models_of(instance: models.Model) -> list[type[models.Model]]:
    """Return the models whose tables hold an object: its own concrete model, then its parents."""
    return [instance._meta.concrete_model or instance.__class__, *instance._meta.get_parent_list()]


def json_of(field: models.Field[Any, Any], value: Any) -> Any:
    """Return a field's value in the form that it has in ``before`` and ``after``."""
    stored = stored_value(field, value)
    return None if stored is None else loads(json_text(stored))


def stored_value(field: models.Field[Any, Any], value: Any) -> Any:
    """Return what a field stores of a value; an instance stands for what a foreign key refers to it by."""
    while isinstance(field, models.ForeignKey):
        field = field.target_field
        value = getattr(value, field.attname) if isinstance(value, models.Model) else value
    prepared = _prepared(field, value)
    if isinstance(prepared, datetime.datetime) and timezone.is_naive(prepared):
        # With USE_TZ = False, the server takes it for one in the time zone of the settings.
        prepared = timezone.make_aware(prepared, timezone.get_default_timezone())
    if isinstance(field, models.DecimalField) and prepared is not None:
        return Decimal(prepared).quantize(Decimal(1).scaleb(-(field.decimal_places or 0)))
    return prepared


def _prepared(field: models.Field[Any, Any], value: Any) -> Any:
    if value is not None and _prepares_for_drivers(type(field)):
        connection = connections[router.db_for_write(field.model)]
        prepared = _unwrapped(field.get_db_prep_save(value, connection))
    else:
        prepared = field.get_prep_value(value)
    if isinstance(field, models.JSONField) and field.encoder is not None and prepared is not None:
        prepared = loads(json.dumps(prepared, cls=field.encoder))
    return prepared


def _prepares_for_drivers(kind: type[models.Field[Any, Any]]) -> bool:
    """Return whether a field has code of a project, not of Django, that runs when its values are sent."""
    methods = (kind.get_db_prep_value, kind.get_db_prep_save)
    return any(not method.__module__.startswith("django.") for method in methods)


def _unwrapped(value: Any) -> Any:
    """Return the value of which a driver's wrapper says how it is sent, such as ``Jsonb`` or ``Binary``."""
    if type(value).__module__.partition(".")[0] in ("psycopg", "psycopg2", "django"):
        return getattr(value, "obj", getattr(value, "adapted", value))
    return value
