"""Find the rows that belong to an object: rows that refer to it, including many-to-many rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from django.db import models

from bemi_django.exceptions import BemiError
from bemi_django.log.keys import json_of


class Belonging(NamedTuple):
    """Rows of a model's table with these values, ``{column: JSON value}``.

    ``is_reference``: they only refer to the object, by a foreign key. They are not its many-to-many rows,
    its generic relations, or its rows in the tables of child models.
    """

    model: type[models.Model]
    values: dict[str, Any]
    is_reference: bool = False


def belongings(instance: models.Model, names: Collection[str] | None = None) -> list[Belonging]:
    """Return the rows that refer to an object.

    Args:
        instance: The object.
        names: Names of relations, as used in queries; a many-to-many field stands for the rows of its
            through table. None means all relations.

    Raises:
        BemiError: The model has no relation of that name.
    """
    model = instance.__class__
    found = [
        ({relation.name}, _generic(instance, relation))
        if _is_generic(relation)
        else (_names(relation), _referring(instance, relation.field, relation.related_model))
        for relation in _relations(model)
    ]
    between = _many_to_many(model)
    chosen = []
    for known, belonging in found:
        known |= between.get(belonging.model, set())
        if names is None or known & set(names):
            is_between = belonging.model in between
            chosen.append(belonging._replace(is_reference=belonging.is_reference and not is_between))
    unknown = set(names or ()) - {name for known, _ in found for name in known}
    if unknown:
        raise BemiError(f"no rows refer to {model.__name__} by a relation {', '.join(sorted(unknown))}")
    return chosen


def unconstrained(model: type[models.Model]) -> list[Any]:
    """Return other models' fields that refer to a model without a database constraint."""
    found = [relation.field for relation in _relations(model) if not _is_generic(relation)]
    return [field for field in found if not getattr(field, "db_constraint", True)]


def has_generic_relations(model: type[models.Model]) -> bool:
    """Tell whether generic relations point to the model."""
    return any(map(_is_generic, _relations(model)))


def generic_belongings(instance: models.Model) -> list[Belonging]:
    """Return the rows that refer to an object by a generic relation."""
    return [
        _generic(instance, relation) for relation in _relations(instance.__class__) if _is_generic(relation)
    ]


def _relations(model: Any) -> Iterator[Any]:
    for relation in model._meta.get_fields(include_hidden=True):
        is_reverse = (relation.one_to_many or relation.one_to_one) and relation.auto_created
        if _is_generic(relation) or (is_reverse and not relation.concrete):
            yield relation


def _is_generic(relation: Any) -> bool:
    return bool(relation.one_to_many) and hasattr(relation, "object_id_field_name")


def _names(relation: Any) -> set[str]:
    return {name for name in (relation.name, relation.get_accessor_name()) if name}


def _many_to_many(model: Any) -> dict[Any, set[str]]:
    """Return the names of many-to-many relations, from both ends, by their through model."""
    names: dict[Any, set[str]] = {}
    for field in model._meta.many_to_many:
        names.setdefault(field.remote_field.through, set()).add(field.name)
    for relation in model._meta.related_objects:
        if relation.many_to_many:
            names.setdefault(relation.through, set()).update(_names(relation))
    return names


def _referring(instance: models.Model, field: Any, model: Any) -> Belonging:
    values = {}
    for own, other in field.related_fields:
        values[own.column] = json_of(other, getattr(instance, other.attname))
    return Belonging(model, values, is_reference=not field.remote_field.parent_link)


def _generic(instance: models.Model, relation: Any) -> Belonging:
    from django.contrib.contenttypes.models import ContentType

    model = relation.related_model
    kind = ContentType.objects.get_for_model(instance, for_concrete_model=relation.for_concrete_model)
    key = model._meta.get_field(relation.object_id_field_name)
    return Belonging(
        model,
        {
            key.column: json_of(key, instance.pk),
            model._meta.get_field(relation.content_type_field_name).column: kind.pk,
        },
    )
