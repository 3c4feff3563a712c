"""The table of the log, mapped for SQLAlchemy."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Table, Text, cast, type_coerce
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.orm import registry
from sqlalchemy.types import TypeDecorator

from bemi_django.integrations import log_table
from bemi_django.log.lossless_json import loads

_mapper_registry = registry()


class RowType(TypeDecorator[Any]):
    """A row as jsonb. Numbers keep every digit; drivers would convert them to floats."""

    impl = JSONB
    cache_ok = True

    def column_expression(self, column: Any) -> Any:
        """Select the column as text."""
        return type_coerce(cast(column, Text), self)

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        """Parse the text, with every digit."""
        return loads(value) if isinstance(value, str) else value

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """Compare values as jsonb does."""
        # SQLAlchemy 1.4 has no impl_instance.
        impl: Any = self.impl
        return impl.coerce_compared_value(op, value)


_name = log_table.configured()
changes = Table(
    _name.name,
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
    Column("diverged", Boolean, nullable=False),
    schema=_name.schema,
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
    diverged: Any

    def __repr__(self) -> str:
        return f"<Change {self.operation} {self.schema}.{self.table} {self.primary_key}>"

    def diff(self) -> dict[str, tuple[Any, Any]]:
        """Return the columns that have another value after the change.

        Returns:
            ``{column: (before, after)}``, with None for a side that does not have the column.
        """
        columns = {**self.before, **self.after}
        pairs = {column: (self.before.get(column), self.after.get(column)) for column in columns}
        return {column: pair for column, pair in pairs.items() if pair[0] != pair[1]}


_mapper_registry.map_imperatively(Change, changes)
