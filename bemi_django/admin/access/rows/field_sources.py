"""The fields whose values another field of a model has, or is made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import connections, models, router

from bemi_django.masking.references import names_in


def field_sources(found: Iterable[type[models.Model]]) -> dict[Any, list[Any]]:
    """Return the fields of models that refer to others, or are generated from others, each with these."""
    fields = (field for model in found for field in model._meta.local_concrete_fields)
    return {field: sources for field in fields if (sources := _sources_of(field))}


def _sources_of(field: Any) -> list[Any]:
    if isinstance(field, models.ForeignKey):
        return [field.target_field]
    if not getattr(field, "generated", False):
        return []
    # Parts of an expression may be anything that has SQL.
    expression, _ = field.generated_sql(connections[router.db_for_write(field.model)])
    names = names_in(expression)
    return [one for one in field.model._meta.local_concrete_fields if one.column in names]
