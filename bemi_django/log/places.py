"""``Place``: a table in a database; its model, and from when on its log is complete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.apps import apps
from django.db import connections, models
from django.utils.translation import gettext as _

from bemi_django import conf, destinations
from bemi_django.exceptions import UnknownDatabase
from bemi_django.schema.database_names import aliases_of, assumed_name, database_name
from bemi_django.schema.sql import quote
from bemi_django.wire.name_pattern import matches
from bemi_django.wire.table_name import of_db_table

_SCHEMAS_OF = """
SELECT n.nspname
FROM pg_catalog.unnest(%s::pg_catalog.text[]) WITH ORDINALITY wanted (name, number)
LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(wanted.name)
LEFT JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
ORDER BY wanted.number
"""

# Gaps, which concern all tables, belong to the table ''.
_LAST = """
SELECT pg_catalog.max(committed_at) FROM _bemi.incomplete
WHERE database OPERATOR(pg_catalog.=) %s::pg_catalog.text AND (
    schema OPERATOR(pg_catalog.=) %s::pg_catalog.text AND "table" OPERATOR(pg_catalog.=) %s::pg_catalog.text
    OR "table" OPERATOR(pg_catalog.=) ''::pg_catalog.text)
"""


class Place(NamedTuple):
    """A table in a database, by the names that the log has for them."""

    database: str
    schema: str
    table: str


def places_of(tables: Iterable[type[models.Model]], alias: str) -> list[Place]:
    """Return the places of the models' tables in the database of an alias, in order."""
    names = [table_name(model) for model in tables]
    connection = connections[alias]
    database = database_name(alias)
    # A table that is not named with its schema is found through search_path.
    unknown = [quote(table) for schema, table in names if schema is None]
    found: list[str | None] = []
    if unknown and connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(_SCHEMAS_OF, [unknown])
            found = [schema for (schema,) in cursor.fetchall()]
    # Inside as_of(), the path leads to the views of the past first.
    past = getattr(connection, "bemi_past", None)
    present = {known.past: known.schema for known in past.tables} if past is not None else {}
    schemas = iter([schema and present.get(schema, schema) for schema in found])
    return [
        Place(database, schema if schema is not None else next(schemas, None) or "public", table)
        for schema, table in names
    ]


def place_of(model: type[models.Model], alias: str) -> Place:
    """Return the place of a model's table in the database of an alias."""
    return places_of([model], alias)[0]


def alias_of(database: str) -> str:
    """Return the alias of a database by its name. Raises UnknownDatabase if there is none."""
    for alias in aliases_of(database):
        if assumed_name(alias) == database:
            return alias
    raise UnknownDatabase(_("no entry of DATABASES is the database %s: add one") % repr(database))


def model_of(place: Place) -> type[models.Model] | None:
    """Return the model of a table, or None."""
    return models_at(place.database, [place])[place]


def models_at(database: str, places: Iterable[Place]) -> dict[Place, type[models.Model] | None]:
    """Return the models of tables of a database, each None if there is none."""
    found: dict[Place, type[models.Model] | None] = dict.fromkeys(places)
    tables = {place.table for place in found}
    named = [
        model
        for model in apps.get_models(include_auto_created=True)
        if not model._meta.proxy and table_name(model)[1] in tables
    ]
    # Of several models of one table, prefer the one that creates it.
    named.sort(key=lambda model: not model._meta.managed)
    for model, place in zip(named, places_of(named, alias_of(database)), strict=True):
        if place in found and found[place] is None:
            found[place] = model
    return found


def rows_of(model: type[models.Model], alias: str) -> models.QuerySet[Any]:
    """Return all rows of a model's table, also those that a base manager of the project leaves out."""
    if model._meta.base_manager_name:
        return models.QuerySet(model, using=alias)
    rows: models.QuerySet[Any] = model._base_manager.using(alias)
    return rows


def is_bookkeeping(place: Place) -> bool:
    """Tell whether a table holds records of Django about the work of others (``BEMI_BOOKKEEPING_TABLES``)."""
    name = f"{place.schema}.{place.table}"
    return any(matches(pattern, name) for pattern in conf.bookkeeping_tables())


def renamed_columns(place: Place, model: type[models.Model] | None) -> Mapping[str, str]:
    """Return ``{old: new}`` for the renamed columns of a table, from the setting and the model."""
    return {**conf.renamed_columns().get(f"{place.schema}.{place.table}", {}), **_declared(model)}


def names_schema(model: type[models.Model]) -> bool:
    """Return whether the model's ``db_table`` names a schema, so that ``search_path`` does not matter."""
    return table_name(model)[0] is not None


def complete_from(place: Place) -> datetime | None:
    """Return when the last change of a table that was removed from the log was committed; None if none was.

    Args:
        place: The table.
    """
    last = [moment for alias in destinations.of_table(*place) if (moment := _last_removed(alias, place))]
    return max(last, default=None)


def _last_removed(alias: str, place: Place) -> datetime | None:
    with connections[alias].cursor() as cursor:
        cursor.execute(_LAST, list(place))
        found: datetime | None = cursor.fetchone()[0]
    return found


def _declared(model: Any) -> Mapping[str, str]:
    declared: Mapping[str, str] = getattr(model, "bemi_renamed_columns", {})
    return declared


def table_name(model: type[models.Model]) -> tuple[str | None, str]:
    """Return schema and name of a model's table; the schema is None if ``db_table`` does not name it."""
    return of_db_table(model._meta.db_table)
