"""SQLAlchemy relationships with Django's names, on both sides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.db import models
from django.db.models import ForeignKey, ManyToManyField
from django.db.models.fields.related import ForeignObject
from sqlalchemy import ColumnElement, and_
from sqlalchemy.orm import Relationship, foreign, relationship, remote

from bemi_django.integrations.sqlalchemy.tables import MappedTables, ModelClass, concrete


class Relations:
    """Builds the relationships of models whose tables and classes exist."""

    def __init__(self, tables: MappedTables, classes: Mapping[ModelClass, type]) -> None:
        self._tables = tables
        self._classes = classes

    def of(self, model: ModelClass) -> dict[str, Relationship[Any]]:
        """Return all relationships of a model, by their names in Django.

        Args:
            model: One of the models whose classes were given.
        """
        options: Any = model._meta
        found: dict[str, Relationship[Any]] = {}
        for field in options.fields:
            if isinstance(field, ForeignObject) and self._reaches(field):
                found[field.name] = self._forward(model, field)
        for field in options.many_to_many:
            # Other fields, such as tags, refer to objects in ways of their own.
            if isinstance(field, ManyToManyField) and self._reaches(field):
                found[field.name] = self._many(model, field, reverse=False)
        for relation in options.related_objects:
            name = _accessor(relation)
            if name and concrete(relation.related_model) in self._classes and self._is_mapped(relation):
                build = self._many_back if relation.many_to_many else self._back
                found[name] = build(model, relation)
        return found

    def _reaches(self, field: Any) -> bool:
        return field.remote_field.model in self._tables and self._is_mapped(field.remote_field)

    def _is_mapped(self, relation: Any) -> bool:
        return not relation.many_to_many or relation.through in self._tables

    def _target(self, model: ModelClass) -> type:
        return self._classes[concrete(model)]

    def _forward(self, model: ModelClass, field: Any) -> Relationship[Any]:
        joined = and_(*(foreign(ours) == remote(theirs) for ours, theirs in self._pairs(field)))
        return relationship(
            self._target(field.remote_field.model), primaryjoin=joined, uselist=False, **_linked(model, field)
        )

    def _back(self, model: ModelClass, relation: Any) -> Relationship[Any]:
        field = relation.field
        joined = and_(*(remote(foreign(theirs)) == ours for theirs, ours in self._pairs(field)))
        return relationship(
            self._target(relation.related_model),
            primaryjoin=joined,
            uselist=not relation.one_to_one,
            **_linked_back(model, relation),
        )

    def _pairs(self, field: Any) -> Iterator[tuple[ColumnElement[Any], ColumnElement[Any]]]:
        for ours, theirs in field.related_fields:
            yield self._tables.column(ours), self._tables.column(theirs)

    def _many_back(self, model: ModelClass, relation: Any) -> Relationship[Any]:
        return self._many(model, relation.field, reverse=True)

    def _many(self, model: ModelClass, field: Any, reverse: bool) -> Relationship[Any]:
        through = field.remote_field.through
        ends = [
            through._meta.get_field(field.m2m_field_name()),
            through._meta.get_field(field.m2m_reverse_field_name()),
        ]
        here, there = reversed(ends) if reverse else ends
        return relationship(
            self._target(field.model if reverse else field.remote_field.model),
            secondary=self._tables[through],
            primaryjoin=self._end(here),
            secondaryjoin=self._end(there),
            **_linked_many(model, field, ends, reverse),
        )

    def _end(self, key: Any) -> ColumnElement[bool]:
        return foreign(self._tables.column(key)) == self._tables.column(key.target_field)


def _accessor(relation: Any) -> str | None:
    # Django also lists the hidden relations of many-to-many fields.
    return None if relation.hidden else relation.get_accessor_name()


def _linked(model: ModelClass, field: Any) -> dict[str, Any]:
    back = _accessor(field.remote_field)
    if field.remote_field.parent_link or not isinstance(field, ForeignKey):
        return {"viewonly": True}
    if concrete(field.model) is not model:
        # Inherited: the parent's relationship writes the same column.
        return {"overlaps": f"{field.name},{back}"}
    return {"back_populates": back} if back else {}


def _linked_back(model: ModelClass, relation: Any) -> dict[str, Any]:
    field = relation.field
    is_own = concrete(relation.model) is model
    if relation.parent_link or not isinstance(field, ForeignKey) or not is_own:
        return {"viewonly": True}
    return {"back_populates": field.name, **_on_delete(relation.on_delete)}


def _on_delete(what: Any) -> dict[str, Any]:
    if what is models.CASCADE:
        return {"cascade": "save-update, merge, delete"}
    if what is models.SET_NULL:
        return {}
    # Left to the database.
    return {"passive_deletes": "all"}


def _linked_many(model: ModelClass, field: Any, ends: list[Any], reverse: bool) -> dict[str, Any]:
    relation = field.remote_field
    own = concrete(relation.model if reverse else field.model)
    if own is not model or relation.symmetrical or not _is_plain(relation.through, ends):
        return {"viewonly": True}
    # Rows of the intermediate table's class may be written too.
    names = [name for key in ends for name in (key.name, _accessor(key.remote_field)) if name]
    linked = {"overlaps": ",".join(names)}
    back = field.name if reverse else _accessor(relation)
    return {**linked, "back_populates": back} if back else linked


def _is_plain(through: ModelClass, ends: list[Any]) -> bool:
    options = through._meta
    return set(options.concrete_fields) <= {*ends, options.pk}
