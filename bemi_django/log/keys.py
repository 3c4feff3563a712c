"""Compute ``changes.primary_key`` of an instance: its key as PostgreSQL prints it.

The log has the key of the table. The model may call something else its key: that of a partitioned table needs
the columns by which it is partitioned, and a table that Django did not make may have any key, or none.
"""

from __future__ import annotations

import datetime
import json
import time
from decimal import Decimal
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from django.core.exceptions import SynchronousOnlyOperation
from django.db import Error, connections, models, router
from django.utils import timezone

from bemi_django.log.lossless_json import loads
from bemi_django.log.places import table_name
from bemi_django.log.printing import json_text, key_text
from bemi_django.schema.sql import quote

_COLUMNS = """
SELECT pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY k.number)
FROM pg_catalog.pg_class c
LEFT JOIN pg_catalog.pg_index i ON i.indrelid OPERATOR(pg_catalog.=) c.oid AND i.indisprimary
LEFT JOIN LATERAL pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY k (attnum, number)
    ON k.number OPERATOR(pg_catalog.<=) i.indnkeyatts
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid
    AND a.attnum OPERATOR(pg_catalog.=) k.attnum
WHERE c.oid OPERATOR(pg_catalog.=) {}
GROUP BY c.oid
"""
# A name with a schema that the role may not use would be an error, and the end of a transaction.
_NAMED = "pg_catalog.to_regclass(%s::pg_catalog.text)"
_IN_SCHEMA = """(
    SELECT t.oid FROM pg_catalog.pg_class t
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.relnamespace
    WHERE n.nspname OPERATOR(pg_catalog.=) %s AND t.relname OPERATOR(pg_catalog.=) %s)"""
#: For how many seconds an answer holds: a migration, of which this process knows nothing, may change the key.
_LIFE = 60.0


class _KeyColumns(NamedTuple):
    columns: list[str | None]
    asked_at: float


# What was found, by model and by the database that was asked.
_found: WeakKeyDictionary[type[models.Model], dict[tuple[str, str], _KeyColumns]] = WeakKeyDictionary()


def key_of(instance: models.Model, model: type[models.Model] | None = None) -> str:
    """Return ``changes.primary_key`` of an instance: one column as text, several as a JSON array.

    Args:
        instance: A saved or deleted instance.
        model: The parent model whose row is meant, with multi-table inheritance; by default its own.
    """
    # request.user is a proxy, which has another type than the object in it.
    link: Any = instance._meta.get_ancestor_link(model) if model else None
    fields = [link] if link else key_fields(model or instance.__class__, instance._state.db)
    return key_text([stored_value(field, getattr(instance, field.attname)) for field in fields])


def key_fields(model: type[models.Model], alias: str | None = None) -> list[Any]:
    """Return the fields of the key of a model's table, in its order.

    Args:
        model: The model.
        alias: Alias of a database that has the table; by default the one that the router writes to.

    Returns:
        The fields; those of the model's own key where that of the table is not known, or has no fields.
    """
    own = own_key_fields(model)
    columns = _columns(model, alias or router.db_for_write(model))
    by_column: dict[str | None, Any] = {str(field.column): field for field in _concrete(model)}
    fields = [by_column.get(column) for column in columns or [None]]
    return own if None in fields else fields


def own_key_fields(model: type[models.Model]) -> list[Any]:
    """Return the fields of what the model calls its key."""
    return list(getattr(model._meta, "pk_fields", [model._meta.pk]))


def has_logged_key(instance: models.Model) -> bool:
    """Tell whether :func:`key_of` is the key that the log has of the object's row.

    It is not if the table has no key, or one with columns of which the model, or the instance, has no values.
    """
    model = instance.__class__
    columns = _columns(model, instance._state.db or router.db_for_write(model))
    fields = {str(field.column): field for field in _concrete(model)}
    if columns is None or instance.pk is None:
        return True
    return all(
        column in fields and getattr(instance, fields[column].attname, None) is not None for column in columns
    )


def _concrete(model: type[models.Model]) -> Any:
    return (model._meta.concrete_model or model)._meta.local_concrete_fields


def _columns(model: type[models.Model], alias: str) -> list[str | None] | None:
    """Return the columns of the key of a table, ``[None]`` if it has none; None if that is not known."""
    connection = connections[alias]
    model = model._meta.concrete_model or model
    asked = alias, str(connection.settings_dict["NAME"])
    known = _found.setdefault(model, {})
    answer = known.get(asked)
    if (answer is None or time.monotonic() > answer.asked_at + _LIFE) and _may_ask(connection, answer):
        found = _ask(connection, model)
        if found is not None:
            answer = known[asked] = _KeyColumns(found, time.monotonic())
    return answer.columns if answer is not None else None


def _may_ask(connection: Any, answer: _KeyColumns | None) -> bool:
    """Tell whether the database can be asked: inside as_of(), the name of a table is that of a view."""
    if connection.vendor != "postgresql" or getattr(connection, "bemi_past", None) is not None:
        return False
    # An old answer is better than an error in a transaction that cannot go on.
    return answer is None or not connection.needs_rollback


def _ask(connection: Any, model: type[models.Model]) -> list[str | None] | None:
    schema, table = table_name(model)
    query, name = (_NAMED, [quote(table)]) if schema is None else (_IN_SCHEMA, [schema, table])
    try:
        # The driver's own cursor: when this is asked is none of the application's queries. Django's opens it,
        # because its backend may set the search path then.
        with connection.wrap_database_errors, connection.cursor() as cursor:
            cursor.cursor.execute(_COLUMNS.format(query), name)
            row = cursor.cursor.fetchone()
    except (Error, SynchronousOnlyOperation):
        # A server that is away, or an event loop. A transaction that fails here cannot go on.
        if connection.in_atomic_block:
            raise
        return None
    return None if row is None else row[0] or [None]


def key_of_value(model: type[models.Model], value: Any) -> str:
    """Return ``changes.primary_key`` for the value of a model's key; a tuple if it has several columns."""
    fields = own_key_fields(model)
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
    prepared = _prepared(field, value)
    if isinstance(prepared, datetime.datetime) and timezone.is_naive(prepared):
        # With USE_TZ = False, the server takes it for one in the time zone of the settings.
        prepared = timezone.make_aware(prepared, timezone.get_default_timezone())
    if isinstance(field, models.DecimalField) and prepared is not None:
        return Decimal(prepared).quantize(Decimal(1).scaleb(-(field.decimal_places or 0)))
    return prepared


def _prepared(field: models.Field[Any, Any], value: Any) -> Any:
    if value is not None and prepares_for_drivers(type(field)):
        connection = connections[router.db_for_write(field.model)]
        prepared = _unwrapped(field.get_db_prep_save(value, connection))
    else:
        prepared = field.get_prep_value(value)
    if isinstance(field, models.JSONField) and field.encoder is not None and prepared is not None:
        prepared = loads(json.dumps(prepared, cls=field.encoder))
    return prepared


def prepares_for_drivers(kind: type[models.Field[Any, Any]]) -> bool:
    """Return whether a field has code of a project, not of Django, that runs when its values are sent."""
    methods = (kind.get_db_prep_value, kind.get_db_prep_save)
    return any(not method.__module__.startswith("django.") for method in methods)


def _unwrapped(value: Any) -> Any:
    """Return the value of which a driver's wrapper says how it is sent, such as ``Jsonb`` or ``Binary``."""
    if type(value).__module__.partition(".")[0] in ("psycopg", "psycopg2", "django"):
        return getattr(value, "obj", getattr(value, "adapted", value))
    return value
