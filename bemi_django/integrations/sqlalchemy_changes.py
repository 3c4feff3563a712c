"""Ask the log with SQLAlchemy 1.4 or 2, with or without Django: a mapped ``Change``, and criteria for it.

::

    from bemi_django.integrations.sqlalchemy_changes import Change, by, field_changed, for_object

    session.scalars(select(Change).where(for_object(todo), field_changed("task"), by(7)).order_by(Change.id))

``order_by(Change.id)`` is the order of commits. What is not a criterion of the log's own language is one of
SQLAlchemy's: ``Change.committed_at >= monday``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Numeric,
    Table,
    Text,
    and_,
    cast,
    inspect,
    or_,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.orm import registry
from sqlalchemy.types import TypeDecorator

from bemi_django.log.lossless_json import loads
from bemi_django.log.printing import json_text, key_text

__all__ = [
    "Change",
    "after",
    "after_not",
    "before",
    "before_not",
    "between",
    "by",
    "context",
    "context_not",
    "created",
    "deleted",
    "field_changed",
    "for_model",
    "for_object",
    "for_table",
    "in_request",
    "in_transaction",
    "outside",
    "updated",
]

_ANY = object()
_mapper_registry = registry()


class RowType(TypeDecorator[Any]):
    """A row as jsonb, read with every digit of its numbers: drivers would make floats of them."""

    impl = JSONB
    cache_ok = True

    def column_expression(self, column: Any) -> Any:
        return type_coerce(cast(column, Text), self)

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return loads(value) if isinstance(value, str) else value

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        # SQLAlchemy 1.4 has no impl_instance.
        impl: Any = self.impl
        return impl.coerce_compared_value(op, value)


changes = Table(
    "changes",
    _mapper_registry.metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("database", Text, nullable=False),
    Column("schema", Text, nullable=False),
    Column("table", Text, nullable=False),
    Column("primary_key", Text),
    Column("operation", Text, nullable=False),
    Column("before", RowType, nullable=False),
    Column("after", RowType, nullable=False),
    Column("context", RowType, nullable=False),
    Column("committed_at", DateTime(timezone=True), nullable=False),
    Column("queued_at", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("transaction_id", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("previous_primary_key", Text),
    Column("partition", Text),
    Column("unavailable", JSONB),
)


class Change:
    """One committed change of one row; its columns are those of the table ``changes``."""

    id: Any
    database: Any
    schema: Any
    table: Any
    primary_key: Any
    operation: Any
    before: Any
    after: Any
    context: Any
    committed_at: Any
    queued_at: Any
    created_at: Any
    transaction_id: Any
    position: Any
    previous_primary_key: Any
    partition: Any
    unavailable: Any

    def __repr__(self) -> str:
        return f"<Change {self.operation} {self.schema}.{self.table} {self.primary_key}>"

    def diff(self) -> dict[str, tuple[Any, Any]]:
        """Return ``{column: (before, after)}`` of the columns that the change gave another value."""
        columns = {**self.before, **self.after}
        pairs = {column: (self.before.get(column), self.after.get(column)) for column in columns}
        return {column: pair for column, pair in pairs.items() if pair[0] != pair[1]}


_mapper_registry.map_imperatively(Change, changes)


def for_table(table: str, schema: str = "public", database: str | None = None) -> Any:
    """Changes of a table; ``database`` where the log has those of several."""
    criterion = and_(Change.table == table, Change.schema == schema)
    return criterion if database is None else and_(criterion, Change.database == database)


def for_model(model: Any, database: str | None = None) -> Any:
    """Changes of the tables of a mapped class, or of a ``Table``."""
    tables = [model] if isinstance(model, Table) else inspect(model).tables
    return or_(*(_of(table, database) for table in tables))


def for_object(instance: Any, *, related: bool | Collection[str] = False, database: str | None = None) -> Any:
    """Changes of one mapped object, also those under a key that it had before.

    ``related``: and those of rows that refer to it, children and rows of many-to-many tables, through all
    relationships of its class or those of some names.
    """
    mapper = inspect(instance).mapper
    criteria = []
    for table in mapper.tables:
        key = key_text([_value(mapper, instance, column) for column in table.primary_key.columns])
        holds = or_(Change.primary_key == key, Change.previous_primary_key == key)
        criteria.append(and_(_of(table, database), holds))
    for relationship in mapper.relationships:
        if related is True or relationship.key in (related or ()):
            criteria += _referring(mapper, instance, relationship, database)
    return or_(*criteria)


def created() -> Any:
    return Change.operation == "CREATE"


def updated() -> Any:
    return Change.operation == "UPDATE"


def deleted() -> Any:
    return Change.operation == "DELETE"


def before(values: Mapping[str, Any]) -> Any:
    """Changes of rows that had these values."""
    return Change.before.contains(dict(values))


def before_not(values: Mapping[str, Any]) -> Any:
    return ~before(values)


def after(values: Mapping[str, Any]) -> Any:
    """Changes that left these values."""
    return Change.after.contains(dict(values))


def after_not(values: Mapping[str, Any]) -> Any:
    return ~after(values)


def context(values: Mapping[str, Any]) -> Any:
    """Changes made in a context that holds these values."""
    return Change.context.contains(dict(values))


def context_not(values: Mapping[str, Any]) -> Any:
    return ~context(values)


def field_changed(column: str, *, from_: Any = _ANY, to: Any = _ANY) -> Any:
    """Updates that gave a column another value, from or to a certain one if named."""
    criteria = [
        updated(),
        Change.before.has_key(column),
        Change.after.has_key(column),
        Change.before[column].is_distinct_from(Change.after[column]),
    ]
    criteria += [] if from_ is _ANY else [before({column: from_})]
    criteria += [] if to is _ANY else [after({column: to})]
    return and_(*criteria)


def by(user_id: Any) -> Any:
    """Changes of a user, by ``user_id`` of the context."""
    return context({"user_id": user_id})


def in_request(request_id: str) -> Any:
    """Changes of one request, by ``request_id`` of the context."""
    return context({"request_id": request_id})


def in_transaction(transaction_id: int) -> Any:
    """Changes of one transaction, by PostgreSQL's id of it."""
    return Change.transaction_id == transaction_id


def between(start: datetime, end: datetime) -> Any:
    """Changes committed from ``start`` on and before ``end``."""
    return and_(Change.committed_at >= start, Change.committed_at < end)


def outside() -> Any:
    """Changes made outside the application: psql and the like, and whatever else sent no context."""
    return or_(Change.context.has_key("db_user"), Change.context == {})


def _of(table: Any, database: str | None) -> Any:
    return for_table(table.name, table.schema or "public", database)


def _value(mapper: Any, instance: Any, column: Any) -> Any:
    """The value of a column of an object as the server prints it."""
    value = getattr(instance, mapper.get_property_by_column(column).key)
    if isinstance(value, Decimal) and isinstance(column.type, Numeric) and column.type.scale is not None:
        return value.quantize(Decimal(1).scaleb(-column.type.scale))
    return value


def _referring(mapper: Any, instance: Any, relationship: Any, database: str | None) -> list[Any]:
    if relationship.direction.name == "MANYTOONE":
        return []
    values: dict[Any, dict[str, Any]] = {}
    for own, other in relationship.synchronize_pairs:
        value = _value(mapper, instance, own)
        values.setdefault(other.table, {})[other.name] = loads(json_text(value))
    return [and_(_of(table, database), or_(before(held), after(held))) for table, held in values.items()]
