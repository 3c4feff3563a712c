"""Find the rows that belong to an object: rows that refer to it, including many-to-many rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from django.core.exceptions import ObjectDoesNotExist
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


class GenericLink(NamedTuple):
    """How rows of a model refer to those of another one by a generic relation.

    Attributes:
        model: The model of the rows.
        key: The field that has the key of the object.
        kind_column: The column that has the content type of the object.
        kind: The key of the content type.
    """

    model: type[models.Model]
    key: models.Field[Any, Any]
    kind_column: str
    kind: Any


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
    found += [({name}, _of_link(instance, link)) for name, link in _tags(model)]
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


def members(instance: models.Model) -> list[Belonging]:
    """Return the rows of an object's many-to-many fields that have a table of their own."""
    found = []
    fields: Any = instance._meta.many_to_many
    for field in fields:
        through: Any = field.remote_field.through
        if not through._meta.auto_created:
            continue
        ends = [field.m2m_field_name()]
        if getattr(field.remote_field, "symmetrical", False):
            ends.append(field.m2m_reverse_field_name())
        found += [_referring(instance, through._meta.get_field(end), through) for end in ends]
    return found


def field_of_table(model: type[models.Model] | None) -> Any:
    """Return the many-to-many field whose rows a model without a class of its own has, or None."""
    owner: Any = model._meta.auto_created if model is not None else None
    fields = owner._meta.local_many_to_many if owner else ()
    return next((field for field in fields if field.remote_field.through is model), None)


def declaring_row(instance: models.Model) -> models.Model | None:
    """Return the object whose many-to-many field a row without a class of its own is of, or None."""
    field = field_of_table(type(instance))
    if field is None:
        return None
    try:
        found: models.Model | None = getattr(instance, field.m2m_field_name())
    except ObjectDoesNotExist:
        return None
    return found


def unconstrained(model: type[models.Model]) -> list[Any]:
    """Return other models' fields that refer to a model without a database constraint."""
    found = [relation.field for relation in _relations(model) if not _is_generic(relation)]
    # A ForeignObject never has one.
    return [field for field in found if not getattr(field, "db_constraint", False)]


def generic_links(model: type[models.Model]) -> list[GenericLink]:
    """Return how rows of other models refer to those of a model by generic relations."""
    return [_link(model, relation) for relation in _relations(model) if _is_generic(relation)]


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


def generic_link(field: Any) -> GenericLink | None:
    """Return how rows of the through table of a many-to-many field refer to objects by a generic relation.

    Such are the tags of django-taggit. None if they do not.
    """
    through = field.remote_field.through
    for key in through._meta.private_fields if not isinstance(field, models.ManyToManyField) else ():
        if hasattr(key, "ct_field"):
            return _link_by(field.model, through, key.fk_field, key.ct_field, key.for_concrete_model)
    return None


def _tags(model: Any) -> Iterator[tuple[str, GenericLink]]:
    for field in model._meta.many_to_many:
        if link := generic_link(field):
            yield field.name, link


def _generic(instance: models.Model, relation: Any) -> Belonging:
    return _of_link(instance, _link(instance.__class__, relation))


def _of_link(instance: models.Model, link: GenericLink) -> Belonging:
    key = json_of(link.key, instance.pk)
    return Belonging(link.model, {str(link.key.column): key, link.kind_column: link.kind})


def _link(model: type[models.Model], relation: Any) -> GenericLink:
    names = relation.object_id_field_name, relation.content_type_field_name
    return _link_by(model, relation.related_model, *names, relation.for_concrete_model)


def _link_by(model: Any, referring: Any, key: str, kind: str, for_concrete_model: bool) -> GenericLink:
    from django.contrib.contenttypes.models import ContentType

    meta = referring._meta
    found = ContentType.objects.get_for_model(model, for_concrete_model=for_concrete_model)
    return GenericLink(referring, meta.get_field(key), str(meta.get_field(kind).column), found.pk)
