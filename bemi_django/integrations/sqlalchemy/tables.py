"""SQLAlchemy tables, made from Django's models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import connections
from django.db.models import Model
from sqlalchemy import Column, ForeignKeyConstraint, MetaData, Table

from bemi_django.integrations.sqlalchemy.defaults import column_defaults
from bemi_django.integrations.sqlalchemy.types import type_of
from bemi_django.wire.table_name import of_db_table

ModelClass = type[Model]


class MappedTables:
    """The table of each model that has one. Columns have Django's names (``owner_id``)."""

    def __init__(self, models: Iterable[ModelClass], metadata: MetaData) -> None:
        self._connection = _any_postgresql()
        self._by_model = {model: self._table(model, metadata) for model in models}
        for model in self._by_model:
            self._refer(model)

    def __getitem__(self, model: ModelClass) -> Table:
        return self._by_model[concrete(model)]

    def __contains__(self, model: ModelClass) -> bool:
        return concrete(model) in self._by_model

    def column(self, field: Any) -> Column[Any]:
        """Return the column of a field, in the table of the model that defines it.

        Args:
            field: A field of one of the models.
        """
        found: Column[Any] = self[field.model].c[field.attname]
        return found

    def _table(self, model: ModelClass, metadata: MetaData) -> Table:
        options = model._meta
        schema, name = of_db_table(options.db_table)
        taken = (f"{schema}.{name}" if schema else name) in metadata.tables
        # Two models of the same table may each define other columns.
        return Table(name, MetaData() if taken else metadata, *self._columns(model), schema=schema)

    def _columns(self, model: ModelClass) -> Iterable[Column[Any]]:
        keys = set(primary_key(model))
        for field in model._meta.local_concrete_fields:
            column_type = type_of(field, self._connection)
            if column_type is None:
                continue
            yield Column(
                field.column,
                column_type,
                key=field.attname,
                primary_key=field in keys,
                autoincrement=field.get_internal_type().endswith("AutoField"),
                nullable=field.null,
                **column_defaults(field),
            )

    def _refer(self, model: ModelClass) -> None:
        # SQLAlchemy orders writes by foreign keys.
        fields: list[Any] = list(model._meta.local_concrete_fields)
        for field in fields:
            if field.remote_field and field.remote_field.model in self:
                target = self.column(field.target_field)
                self[model].append_constraint(ForeignKeyConstraint([field.attname], [target]))


def concrete(model: ModelClass) -> ModelClass:
    """Return the model itself, or the concrete model of a proxy."""
    return model._meta.concrete_model or model


def primary_key(model: ModelClass) -> list[Any]:
    """Return the fields of the primary key; several if it is a ``CompositePrimaryKey``."""
    options: Any = model._meta
    return list(getattr(options, "pk_fields", [options.pk]))


def _any_postgresql() -> Any:
    # All store a field in the same way. Nothing here connects.
    for connection in connections.all():
        if connection.vendor == "postgresql":
            return connection
    raise LookupError("no database in DATABASES is PostgreSQL: the bridge needs one")
