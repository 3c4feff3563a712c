"""Compute ``changes.primary_key`` of an instance: its key as PostgreSQL prints it."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

from django.db import models
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
    prepared = field.get_prep_value(value)
    if isinstance(prepared, datetime.datetime) and timezone.is_naive(prepared):
        # With USE_TZ = False, the server takes it for one in the time zone of the settings.
        prepared = timezone.make_aware(prepared, timezone.get_default_timezone())
    if isinstance(field, models.DecimalField) and prepared is not None:
        return Decimal(prepared).quantize(Decimal(1).scaleb(-(field.decimal_places or 0)))
    return prepared
