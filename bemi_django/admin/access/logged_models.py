"""Find the model of a table in the log, and parse the keys of its rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from django.apps import apps
from django.db import InterfaceError, OperationalError, connections, models, router

from bemi_django import conf
from bemi_django.exceptions import UnknownDatabase
from bemi_django.log.keys import key_fields
from bemi_django.log.live.column_names import ColumnNames, PresentNames
from bemi_django.log.live.name_catalog import altered_tables, names_at, read_names
from bemi_django.log.places import Place, alias_of, places_of, renamed_columns, table_name
from bemi_django.models import Change
from bemi_django.schema.database_names import aliases_of, assumed_name, configured_name
from bemi_django.wire.name_pattern import matches


class LoggedModel(NamedTuple):
    """A model, and the alias of a database that has its table."""

    model: type[models.Model]
    alias: str


class LoggedModels:
    """The models of the project by their tables.

    The search path of a connection can change, so an instance serves one request.
    """

    def __init__(self) -> None:
        self._by_table: dict[str, list[tuple[str | None, LoggedModel]]] = {}
        self._found: dict[tuple[str, str, str], LoggedModel | None] = {}
        self._places: dict[type[models.Model], Place] | None = None
        self._paths: dict[str, list[str]] = {}
        self._columns: dict[Place, ColumnNames] = {}
        self._sources = [alias for alias in connections if conf.is_source(alias)]
        for model in _concrete_models():
            self._add(model)

    def _add(self, model: type[models.Model]) -> None:
        found = table_name(model)
        # A model may have tables in several databases. The one that it is written to comes first.
        home = router.db_for_write(model)
        others = [alias for alias in self._sources if router.allow_migrate_model(alias, model)]
        for alias in dict.fromkeys([home, *others]):
            self._by_table.setdefault(found[1], []).append((found[0], LoggedModel(model, alias)))

    def model_of(self, change: Change) -> LoggedModel | None:
        """Return the model of a change's table, or None for a table without a model."""
        return self.model_at(change.database, change.schema, change.table)

    def model_at(self, database: str, schema: str, table: str) -> LoggedModel | None:
        """Return the model of a table, given by the names that the log has for it, or None."""
        name = (database, schema, table)
        if name not in self._found:
            self._found[name] = self._find(*name)
        return self._found[name]

    def _find(self, database: str, schema: str, table: str) -> LoggedModel | None:
        candidates = self._by_table.get(table, ())
        order = {alias: number for number, alias in enumerate(aliases_of(database))}

        def rank(found: tuple[str | None, LoggedModel]) -> tuple[int, bool]:
            # Of several models of one table, prefer the one that creates it.
            return order.get(found[1].alias, len(order)), not found[1].model._meta.managed

        for own_schema, logged in sorted(candidates, key=rank):
            if assumed_name(logged.alias) != database:
                continue
            if schema == own_schema or (own_schema is None and schema in self._path(logged.alias)):
                return logged
        return None

    def places(self) -> dict[type[models.Model], Place]:
        """Return the tables of all models in the databases that these are written to."""
        if self._places is None:
            self._places = {}
            by_alias: dict[str, list[type[models.Model]]] = {}
            for model in _concrete_models():
                by_alias.setdefault(self.alias(model), []).append(model)
            for alias, found in by_alias.items():
                self._places |= dict(zip(found, self._places_in(alias, found), strict=True))
        return self._places

    def _places_in(self, alias: str, found: list[type[models.Model]]) -> list[Place]:
        try:
            return places_of(found, alias)
        except (OperationalError, InterfaceError):
            if alias in self._sources:
                raise
            # No log has changes of these tables, so their names hide nothing.
            return [
                Place(configured_name(alias), schema or "", name) for schema, name in map(table_name, found)
            ]

    def where_all(self, is_wanted: Callable[[type[models.Model]], bool]) -> list[Place]:
        """Return the tables of the models that are wanted, in all databases that have them."""
        by_alias: dict[str, list[type[models.Model]]] = {}
        for candidates in self._by_table.values():
            for _schema, (model, alias) in candidates:
                by_alias.setdefault(alias, []).append(model)
        chosen = {alias: [model for model in found if is_wanted(model)] for alias, found in by_alias.items()}
        return [place for alias, found in chosen.items() if found for place in self._places_in(alias, found)]

    def names_in(self, change: Change) -> PresentNames:
        """Return what the columns of a change are called now."""
        return self._names_at(change.place).of(change)

    def names_of(self, model: type[models.Model]) -> ColumnNames:
        """Return what the columns of a model's table are called now in each of its changes."""
        place = self.places().get(model)
        return ColumnNames({}) if place is None else self._names_at(place)

    def former_names(self, model: type[models.Model], column: str) -> set[str]:
        """Return all names that a column of a model, or of one of its parents, has had, with this one."""
        owner = next((field.model for field in model._meta.concrete_fields if field.column == column), model)
        place = self.places().get(owner)
        return {column} if place is None else self._names_at(place).former(column)

    def _names_at(self, place: Place) -> ColumnNames:
        if place not in self._columns:
            self.model_at(*place)
            # The tables of a page are asked for together: a query for each would be many.
            fresh = {
                Place(*name): found.model if found else None
                for name, found in self._found.items()
                if name[0] == place.database and name not in self._columns
            }
            try:
                self._columns |= names_at(fresh, alias_of(place.database))
            except UnknownDatabase:
                self._columns |= {
                    one: ColumnNames(renamed_columns(one, model)) for one, model in fresh.items()
                }
        return self._columns[place]

    def renamed_columns(self, columns: Collection[str]) -> Iterator[tuple[str, str, set[str]]]:
        """Yield the columns that had several names: the schema and the name of their table, and all names.

        Args:
            columns: Which tables without a model to look for, in the databases of the models; see
                :func:`~bemi_django.log.live.name_catalog.altered_tables`.
        """
        declared: dict[str, dict[tuple[str, str], Mapping[str, str]]] = {}
        for model, place in self.places().items():
            tables = declared.setdefault(self.alias(model), {})
            tables[place[1:]] = {**tables.get(place[1:], {}), **renamed_columns(place, model)}
        for alias, tables in declared.items():
            if alias not in self._sources:
                continue
            with connections[alias].cursor() as cursor:
                for name in altered_tables(cursor, columns):
                    tables.setdefault(name, renamed_columns(Place("", *name), None))
                known = read_names(cursor, tables)
            for name, names in known.items():
                yield from ((*name, found) for found in names.renamed())
        for qualified, given in conf.renamed_columns().items():
            schema, _, table = qualified.partition(".")
            yield from ((schema, table, found) for found in ColumnNames(given).renamed())

    def alias(self, model: type[models.Model]) -> str:
        """Return the alias of the database that a model is written to."""
        return router.db_for_write(model)

    def names(self) -> list[str]:
        """Return the names of all models' tables, without schemas."""
        return sorted(self._by_table)

    def labelled(self) -> list[tuple[str, str]]:
        """Return pairs of a table's name and the plural name of its model, sorted for a menu."""
        named = {
            table: str(found[0][1].model._meta.verbose_name_plural) for table, found in self._by_table.items()
        }
        return sorted(named.items(), key=lambda item: item[1].casefold())

    def menu(self) -> list[tuple[str, str]]:
        """Return those of ``labelled()`` whose tables are tracked according to the settings."""
        tracked = {
            place.table
            for model, place in self.places().items()
            if _matches(place, conf.include(self._path(self.alias(model))))
            and not _matches(place, conf.exclude())
        }
        return [(table, label) for table, label in self.labelled() if table in tracked]

    def _path(self, alias: str) -> list[str]:
        if alias not in self._paths:
            if alias not in self._sources:
                return ["public"]
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT pg_catalog.current_schemas(false)::pg_catalog.text[]")
                self._paths[alias] = list(cursor.fetchone()[0])
        return self._paths[alias]


def _concrete_models() -> Iterator[type[models.Model]]:
    for model in apps.get_models(include_auto_created=True):
        if not model._meta.proxy and not model._meta.swapped:
            yield model


def _matches(place: Place, patterns: Iterable[str]) -> bool:
    return any(matches(pattern, f"{place.schema}.{place.table}") for pattern in patterns)


def parse_key(model: type[models.Model], key: str | None) -> Any:
    """Return the Python value of a primary key that the log has as text.

    Args:
        model: The model whose key it is.
        key: The key; one of several columns is a JSON array of texts.

    Returns:
        The value (a tuple for one of several columns), or None if the model cannot have such a key.
    """
    if key is None:
        return None
    fields = key_fields(model)
    try:
        texts = [key] if len(fields) == 1 else json.loads(key)
        values = [_parsed(field, text) for field, text in zip(fields, texts, strict=True)]
    except Exception:
        # A field of the project may expect anything of its values.
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
