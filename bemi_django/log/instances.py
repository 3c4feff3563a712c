"""Turn rows of the log into instances of their Django models."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError, connections, models, transaction
from django.db.models.sql import Query

from bemi_django.exceptions import NoModel
from bemi_django.log.keys import key_fields
from bemi_django.log.live.name_catalog import column_names
from bemi_django.log.lossless_json import dumps, hstore, loads
from bemi_django.log.places import Place, alias_of, model_of, rows_of
from bemi_django.schema import tenancy
from bemi_django.schema.sql import quote


def live_instance(change: Any) -> models.Model | None:
    """Return the live object of a change, or None if its row no longer exists. Raises NoModel."""
    instance = instance_of(change, change.after or change.before)
    found: models.Model | None = (
        rows_of(type(instance), alias_of(change.database)).filter(pk=instance.pk).first()
    )
    return found


def instance_with_key(place: Place, primary_key: str | None) -> models.Model | None:
    """Return the live object of an event, or None if there is none with its key, which may be anything.

    Raises:
        NoModel: No model has the table.
    """
    model = model_of(place)
    if model is None:
        raise NoModel(f"no model has the table {place.schema}.{place.table}, to which the event belongs")
    alias = alias_of(place.database)
    try:
        fields = key_fields(model, alias)
        values = loads(primary_key or "") if len(fields) > 1 else [primary_key]
        key = {field.attname: value for field, value in zip(fields, values, strict=True)}
        with transaction.atomic(using=alias):
            found: models.Model | None = rows_of(model, alias).filter(**key).first()
    except (DataError, TypeError, ValidationError, ValueError):
        return None
    return found


def instance_of(
    change: Any, row: Mapping[str, Any], unknown: Collection[str] = (), erased: Collection[str] = ()
) -> models.Model:
    """Return a row of a change as an unsaved instance whose values have the types that the fields give out.

    PostgreSQL converts the values (``jsonb_populate_record``), so every type works that the driver and the
    field support. Columns have the names that they have now. Those missing from the row get their field's
    default; those that the table no longer has become plain attributes, unless a field has their name.
    ``unknown_fields`` has the names of the fields whose columns are ``unknown`` and not in the row, or
    ``erased``, or of which the log does not tell what they were called.

    Raises:
        NoModel: No model has the table.
    """
    place = change.place
    model = model_of(place)
    if model is None:
        name, alias = f"{place.schema}.{place.table}", alias_of(place.database)
        if tenancy.has_tenants(alias) and tenancy.schema_of(alias) != place.schema:
            raise NoModel(
                f"no model of the current tenant has the table {name}: use schema_context({place.schema!r})"
            )
        raise NoModel(f"no model has the table {name}: use change.before and change.after")
    alias = alias_of(place.database)
    names = column_names(place, model).of(change)
    values = names.renamed({c: value for c, value in row.items() if c not in names.gone or c == names.now(c)})
    fields = {str(field.column): field for field in model._meta.local_concrete_fields}
    instance = _read(model, place, alias, fields, values)
    for column, field in fields.items():
        if column not in values and not getattr(field, "generated", False):
            setattr(instance, field.attname, field.get_default())
    for column, value in values.items():
        if column not in fields and not hasattr(instance, column):
            setattr(instance, column, value)
    lost = set(map(names.now, unknown)) - values.keys()
    lost |= set(map(names.now, erased)) | names.untold
    instance.__dict__["unknown_fields"] = frozenset(
        field.attname for column, field in fields.items() if column in lost
    )
    # save() must insert, as for an instance made in Python.
    instance._state.adding = True
    return instance


def _read(
    model: type[models.Model], place: Place, alias: str, fields: Mapping[str, Any], values: Mapping[str, Any]
) -> models.Model:
    connection = connections[alias]
    table = f"{quote(place.schema)}.{quote(place.table)}".replace("%", "%%")
    columns = ", ".join(f"r.{quote(column)}" for column in fields).replace("%", "%%")
    known = {
        column: hstore(value) if (fields[column].db_type(connection) or "").startswith("hstore") else value
        for column, value in values.items()
        if column in fields
    }
    with connection.cursor() as cursor:
        query = (
            f"SELECT {columns} FROM pg_catalog.jsonb_populate_record(NULL::{table}, %s::pg_catalog.jsonb) r"  # noqa: S608 - quoted
        )
        cursor.execute(query, [dumps(known)])
        row = cursor.fetchone()
    compiler = connection.ops.compiler("SQLCompiler")(Query(model), connection, alias)
    converters = compiler.get_converters([field.get_col(model._meta.db_table) for field in fields.values()])
    (read,) = compiler.apply_converters([row], converters)
    values_read: list[Any] = list(read)
    names = [field.attname for field in fields.values()]
    # psycopg2 returns bytea as memoryview.
    plain = [bytes(value) if isinstance(value, memoryview) else value for value in values_read]
    return model.from_db(alias, names, plain)
