"""Where the server has a mapped table, and what it stores in a column."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import Enum, Numeric, Text, TypeDecorator, cast, column, func, literal, select, table
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import OID

_CLASSES = table("pg_class", column("oid"), column("relnamespace"), schema="pg_catalog")
_NAMESPACES = table("pg_namespace", column("oid"), column("nspname"), schema="pg_catalog")


def schema_of(mapped: Any) -> Any:
    """Return the schema of a ``Table``, or an expression for it.

    A table without a schema is the one that the search path of the session leads to, or one of ``public``.
    """
    if mapped.schema:
        return mapped.schema
    name = func.pg_catalog.quote_ident(cast(literal(mapped.name, Text), Text))
    found = select(cast(_NAMESPACES.c.nspname, Text)).where(
        _CLASSES.c.oid == cast(func.pg_catalog.to_regclass(name), OID),
        _NAMESPACES.c.oid == _CLASSES.c.relnamespace,
    )
    return func.coalesce(found.scalar_subquery(), "public")


def value_of(mapper: Any, instance: Any, column: Any) -> Any:
    """Return the value of a column of an object as the server stores it."""
    value = getattr(instance, mapper.get_property_by_column(column).key)
    if isinstance(column.type, (Enum, TypeDecorator)):
        # An object has something else, such as the enum of which the name is stored.
        dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
        # By the type that PostgreSQL has for it: an interval is a datetime only where there is none.
        store = column.type.dialect_impl(dialect).bind_processor(dialect)
        value = store(value) if store else value
    if isinstance(value, Decimal) and isinstance(column.type, Numeric) and column.type.scale is not None:
        return value.quantize(Decimal(1).scaleb(-column.type.scale))
    return value
