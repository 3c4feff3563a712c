"""Where the server has a mapped table, and what it stores in a column."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    Enum,
    Numeric,
    Text,
    TypeDecorator,
    cast,
    column,
    func,
    inspect,
    literal,
    select,
    table,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import OID
from sqlalchemy.orm.state import InstanceState
from sqlalchemy.sql.expression import FromClause

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
    return stored(column.type, getattr(instance, mapper.get_property_by_column(column).key))


def stored(kind: Any, value: Any) -> Any:
    """Return a value of a type of SQLAlchemy as the server stores it."""
    if isinstance(kind, (Enum, TypeDecorator)):
        # An object has something else, such as the enum of which the name is stored.
        dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
        if isinstance(kind, TypeDecorator) and isinstance(kind.impl, JSON):
            # What is stored is not its text.
            return kind.process_bind_param(value, dialect)
        # By the type that PostgreSQL has for it: an interval is a datetime only where there is none.
        store = kind.dialect_impl(dialect).bind_processor(dialect)
        value = store(value) if store else value
    if isinstance(value, Decimal) and isinstance(kind, Numeric) and kind.scale is not None:
        return value.quantize(Decimal(1).scaleb(-kind.scale))
    return value


def column_of(name: Any) -> tuple[str, Any]:
    """Return the name of a column and its type, which is None if only the name is given.

    Args:
        name: The name of a column, an attribute of a mapped class, or a ``Column``.

    Raises:
        TypeError: It is something else, such as an expression.
    """
    if isinstance(name, str):
        return name, None
    column = name.__clause_element__() if hasattr(name, "__clause_element__") else name
    if not isinstance(getattr(column, "table", None), FromClause):
        raise TypeError(f"{name} is not a column: pass its name, or an attribute that is mapped to one")
    return column.name, column.type


def plain(value: Any) -> Any:
    """Return the key of a mapped object as the server stores it, and any other value as it is.

    Raises:
        TypeError: The key has several columns.
    """
    state = inspect(value, raiseerr=False)
    if not isinstance(state, InstanceState):
        return value
    key = state.mapper.primary_key
    if len(key) != 1:
        raise TypeError(f"{type(value).__name__} has a key of {len(key)} columns: pass their values")
    return value_of(state.mapper, value, key[0])
