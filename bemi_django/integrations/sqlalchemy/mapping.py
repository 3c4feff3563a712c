"""SQLAlchemy's mapped classes, made from Django's models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from django.apps import apps
from sqlalchemy import Column, MetaData
from sqlalchemy.orm import column_property, registry, synonym
from sqlalchemy.sql import FromClause

from bemi_django.integrations.sqlalchemy.relations import Relations
from bemi_django.integrations.sqlalchemy.tables import MappedTables, ModelClass, concrete, primary_key


class Mapped:
    """The base of all mapped classes: a constructor with keywords, and the Django model."""

    django_model: ModelClass

    def __init__(self, **values: Any) -> None:
        for name, value in values.items():
            if not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} has no {name!r}")
            setattr(self, name, value)

    def __repr__(self) -> str:
        keys = (getattr(self, field.attname, None) for field in primary_key(self.django_model))
        return f"<{type(self).__name__} {', '.join(map(repr, keys))}>"


class MappedModels(Mapping[str, Any]):
    """The mapped classes of an app, as attributes or by key: ``models_of("todos").Todo``."""

    def __init__(self, label: str, classes: Mapping[str, Any]) -> None:
        self._label = label
        self._classes = classes

    def __getattr__(self, name: str) -> Any:
        try:
            return self._classes[name]
        except KeyError:
            raise AttributeError(f"{self._label!r} has no model {name!r}") from None

    def __getitem__(self, name: str) -> Any:
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)


def models_of(app_label: str) -> MappedModels:
    """Return the mapped classes of an app's models, by the names of the models.

    ``Todo = models_of("todos").Todo``. The models that Django creates for many-to-many fields are included. A
    proxy model has the class of its concrete model.

    Args:
        app_label: Label of an installed app.

    Returns:
        A mapping whose keys are also attributes.

    Raises:
        LookupError: If no such app is installed.
    """
    config = apps.get_app_config(app_label)
    found = {model.__name__: mapped(model) for model in config.get_models(include_auto_created=True)}
    return MappedModels(app_label, found)


def mapped(model: ModelClass) -> Any:
    """Return the mapped class of one model.

    Args:
        model: A Django model. A proxy model has the class of its concrete model.

    Returns:
        The class. It is the same each time, as long as no model is added to the registry.
    """
    registered: Any = model._meta.apps
    return _classes(tuple(registered.get_models(include_auto_created=True)))[concrete(model)]


# The key is the set of models: each registry of models has its own classes, also after it changes.
@lru_cache(maxsize=8)
def _classes(models: tuple[ModelClass, ...]) -> dict[ModelClass, type]:
    stored = [model for model in models if not model._meta.proxy]
    mappers = registry(metadata=MetaData())
    tables = MappedTables(stored, mappers.metadata)
    classes: dict[ModelClass, type] = {model: _class_of(model) for model in stored}
    relations = Relations(tables, classes)
    for model, made in classes.items():
        mappers.map_imperatively(
            made,
            _selectable(tables, model),
            primary_key=[tables.column(_origin(field)) for field in primary_key(model)],
            properties={**_columns(tables, model), **relations.of(model)},
        )
    mappers.configure()
    return classes


def _class_of(model: ModelClass) -> type:
    # Apps may have models of the same name. SQLAlchemy distinguishes them by their modules.
    module = f"{__name__}.{model._meta.app_label}"
    names = {"__doc__": f"{model._meta.label} for SQLAlchemy.", "__module__": module, "django_model": model}
    return type(model.__name__, (Mapped,), names)


def _selectable(tables: MappedTables, model: ModelClass) -> FromClause:
    # Not SQLAlchemy's joined inheritance: a parent and its child are two objects, as in Django.
    found: FromClause = tables[model]
    for link in _links(model):
        joined = tables.column(link) == tables.column(link.target_field)
        found = found.join(tables[link.target_field.model], joined)
    return found


def _links(model: ModelClass) -> Iterator[Any]:
    """Yield the keys to the parents of a model, and to their parents."""
    for parent, link in model._meta.parents.items():
        if link is not None and concrete(link.model) is concrete(model):
            yield link
            yield from _links(concrete(parent))


def _columns(tables: MappedTables, model: ModelClass) -> dict[str, Any]:
    same: dict[Any, list[Column[Any]]] = {}
    names: dict[str, Any] = {}
    for field in model._meta.concrete_fields:
        origin = _origin(field)
        same.setdefault(origin, []).append(tables.column(field))
        names[field.attname] = origin
    return {
        name: column_property(*same[origin]) if name == origin.attname else synonym(origin.attname)
        for name, origin in names.items()
    }


def _origin(field: Any) -> Any:
    """Return the key of the topmost parent if the field is only a link to it, or else the field."""
    while field.remote_field and getattr(field.remote_field, "parent_link", False) and _is_inherited(field):
        field = field.target_field
    return field


def _is_inherited(link: Any) -> bool:
    return link in link.model._meta.parents.values()
