"""Find the model of a table in the log, and parse the keys of its rows."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import connections, models, router

from bemi_django import conf
from bemi_django.models import Change
from bemi_django.schema.database_names import aliases_of, assumed_name


class LoggedModel(NamedTuple):
    """A model, and the alias of a database that has its table."""

    model: type[models.Model]
    alias: str


class LoggedModels:
    """The models of the project by their tables.

    The search path of a connection can change, so an instance serves one request.
    """

    def __init__(self) -> None:
        self._places: dict[str, list[tuple[str | None, LoggedModel]]] = {}
        self._found: dict[tuple[str, str, str], LoggedModel | None] = {}
        self._paths: dict[str, list[str]] = {}
        self._sources = [alias for alias in connections if conf.is_source(alias)]
        for model in apps.get_models(include_auto_created=True):
            if not model._meta.proxy and not model._meta.swapped:
                self._add(model)

    def _add(self, model: type[models.Model]) -> None:
        schema, separator, table = model._meta.db_table.strip('"').partition('"."')
        found = (schema, table) if separator else (None, schema)
        # A model may have tables in several databases. The one that it is written to comes first.
        home = router.db_for_write(model)
        others = [alias for alias in self._sources if router.allow_migrate_model(alias, model)]
        for alias in dict.fromkeys([home, *others]):
            self._places.setdefault(found[1], []).append((found[0], LoggedModel(model, alias)))

    def model_of(self, change: Change) -> LoggedModel | None:
        """Return the model of a change's table, or None for a table without a model."""
        table = change.database, change.schema, change.table
        if table not in self._found:
            self._found[table] = self._find(change)
        return self._found[table]

    def _find(self, change: Change) -> LoggedModel | None:
        places = self._places.get(change.table, ())
        order = {alias: number for number, alias in enumerate(aliases_of(change.database))}
        for schema, place in sorted(places, key=lambda found: order.get(found[1].alias, len(order))):
            if assumed_name(place.alias) != change.database:
                continue
            if change.schema == schema or (schema is None and change.schema in self._path(place.alias)):
                return place
        return None

    def alias(self, model: type[models.Model]) -> str:
        """Return the alias of the database that a model is written to."""
        return router.db_for_write(model)

    def names(self) -> list[str]:
        """Return the names of all models' tables, without schemas."""
        return sorted(self._places)

    def labelled(self) -> list[tuple[str, str]]:
        """Return pairs of a table's name and the plural name of its model, sorted for a menu."""
        named = {
            table: str(places[0][1].model._meta.verbose_name_plural) for table, places in self._places.items()
        }
        return sorted(named.items(), key=lambda item: item[1].casefold())

    def _path(self, alias: str) -> list[str]:
        if alias not in self._paths:
            if connections[alias].vendor != "postgresql":
                return ["public"]
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT current_schemas(false)::text[]")
                self._paths[alias] = list(cursor.fetchone()[0])
        return self._paths[alias]


def parse_key(model: type[models.Model], key: str | None) -> Any:
    """Return the Python value of a primary key that the log has as text.

    Args:
        model: The model whose key it is.
        key: The key; that of a composite primary key is a JSON array of texts.

    Returns:
        The value (a tuple for a composite key), or None if the model cannot have such a key.
    """
    if key is None:
        return None
    fields = getattr(model._meta, "pk_fields", [model._meta.pk])
    try:
        texts = [key] if len(fields) == 1 else json.loads(key)
        values = [_parsed(field, text) for field, text in zip(fields, texts, strict=True)]
    except (ValidationError, ValueError, TypeError):
        return None
    return values[0] if len(values) == 1 else tuple(values)


def _parsed(field: models.Field[Any, Any], text: Any) -> Any:
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    if isinstance(field, models.BinaryField):
        return bytes.fromhex(str(text).removeprefix("\\x"))
    return field.to_python({"t": True, "f": False}.get(text, text) if _is_flag(field) else text)


def _is_flag(field: models.Field[Any, Any]) -> bool:
    return isinstance(field, models.BooleanField)
