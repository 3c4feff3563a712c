"""Find the columns of fields, some of which have several: composite keys and generic relations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db import models

from bemi_django.log.values.json_values import plain


def columns_of(name: str, model: type[models.Model] | None) -> list[str]:
    """Return the columns of a field of the model, if that is what the name is; otherwise the name itself."""
    if model is None or any(field.column == name for field in model._meta.concrete_fields):
        return [name]
    if len(keys := _key_fields(name, model)) > 1:
        return [field.column for field in keys]
    if name == "pk":
        return [getattr(model._meta.pk, "column", None) or name]
    if (generic := _generic(name, model)) is not None:
        return [*columns_of(generic.ct_field, model), *columns_of(generic.fk_field, model)]
    fields = model._meta.concrete_fields
    return [next((field.column or name for field in fields if name in (field.name, field.attname)), name)]


def values_by_column(
    values: Mapping[str, Any], model: type[models.Model] | None
) -> Iterator[tuple[str, Any]]:
    """Yield columns and values, those of fields with several columns once for each column.

    Raises:
        TypeError: A value is an expression, or a query.
        ValueError: A value does not have the parts of a field with several columns.
    """
    for name, value in values.items():
        columns = columns_of(name, model)
        if len(columns) == 1 or value is None:
            yield from ((column, value) for column in columns)
        elif model is not None and (generic := _generic(name, model)) is not None:
            # A generic relation is what it refers to, and of which kind that is.
            instance = _instance(name, value)
            yield from zip(columns, (generic.get_content_type(obj=instance), instance.pk), strict=True)
        else:
            yield from zip(columns, _parts_of_key(columns, value), strict=True)


def _key_fields(name: str, model: type[models.Model]) -> Sequence[Any]:
    # Since Django 5.2.
    return (
        getattr(model._meta, "pk_fields", ()) if name in ("pk", getattr(model._meta.pk, "name", "")) else ()
    )


def _generic(name: str, model: type[models.Model]) -> Any:
    fields: Any = model._meta.private_fields
    return next((field for field in fields if field.name == name and hasattr(field, "ct_field")), None)


def _instance(name: str, value: Any) -> models.Model:
    value = plain(value)
    if not isinstance(value, models.Model):
        raise ValueError(
            f"{name} refers to objects of several models, and a {type(value).__name__} is none of them: pass "
            "an object, or name the two columns"
        )
    return value


def _parts_of_key(columns: list[str], value: Any) -> Sequence[Any]:
    value = plain(value)
    value = value.pk if isinstance(value, models.Model) else value
    if isinstance(value, (list, tuple)) and len(value) == len(columns):
        return value
    given = f"a tuple of {len(value)}" if isinstance(value, (list, tuple)) else f"a {type(value).__name__}"
    raise ValueError(
        f"the key has {len(columns)} columns, and {given} was given for them: pass a tuple with the values "
        f"of {', '.join(columns)}, or name the columns"
    )
