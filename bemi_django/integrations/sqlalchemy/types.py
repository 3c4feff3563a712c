"""The SQLAlchemy types of what Django fields store."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from django.db import models
from sqlalchemy import types as generic
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

# By Django's name of a type: the function that makes ours from the numbers in its parentheses.
_STORED: dict[str, Callable[..., TypeEngine[Any]]] = {
    "bigint": generic.BigInteger,
    "boolean": generic.Boolean,
    "bytea": generic.LargeBinary,
    "char": generic.CHAR,
    "citext": postgresql.CITEXT,
    "date": generic.Date,
    "daterange": postgresql.DATERANGE,
    "double precision": generic.Double,
    "hstore": postgresql.HSTORE,
    "inet": lambda: Address(),
    "int4range": postgresql.INT4RANGE,
    "int8range": postgresql.INT8RANGE,
    "integer": generic.Integer,
    "interval": generic.Interval,
    "json": lambda: postgresql.JSON(none_as_null=True),
    "jsonb": lambda: postgresql.JSONB(none_as_null=True),
    "numeric": generic.Numeric,
    "numrange": postgresql.NUMRANGE,
    "real": postgresql.REAL,
    "smallint": generic.SmallInteger,
    "text": generic.Text,
    "time": generic.Time,
    "timestamp": generic.DateTime,
    "timestamp with time zone": lambda: generic.DateTime(timezone=True),
    "tsrange": postgresql.TSRANGE,
    "tstzrange": postgresql.TSTZRANGE,
    "tsvector": postgresql.TSVECTOR,
    "uuid": generic.Uuid,
    "varchar": generic.String,
}
_SPELLED = re.compile(r"(?P<name>[\w ]+?)(?:\((?P<numbers>[\d, ]+)\))?")


class Address(generic.TypeDecorator[str]):
    """A network address as text, as in Django, whatever the driver returns."""

    impl = postgresql.INET
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        """Convert an address of any type to text."""
        return None if value is None else str(value)

    def process_result_value(self, value: Any, dialect: Any) -> str | None:
        """Convert the driver's address to text."""
        return None if value is None else str(value)


class Coded(generic.TypeDecorator[Any]):
    """JSON that passes through the encoder and decoder of its Django field."""

    impl = postgresql.JSONB
    cache_ok = True

    def __init__(self, encoder: Any, decoder: Any) -> None:
        super().__init__(none_as_null=True)
        self.encoder = encoder
        self.decoder = decoder

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        """Encode a value as the field does."""
        return value if value is None else json.loads(json.dumps(value, cls=self.encoder))

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        """Decode a value as the field does."""
        return value if value is None else json.loads(json.dumps(value), cls=self.decoder)


class Unknown(generic.UserDefinedType[Any]):
    """A type known only to its field and the server; its values are those of the driver."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **options: Any) -> str:
        """Return the name of the type in SQL."""
        return self.name


def type_of(field: Any, connection: Any) -> TypeEngine[Any] | None:
    """Return the type of a field's column, according to what the field stores (``db_type``).

    Choices are therefore text or numbers, and so are custom fields.

    Args:
        field: A Django field.
        connection: A Django connection to a PostgreSQL; it is not opened.

    Returns:
        The type, or None for a field without a column.
    """
    field = _stored_field(field)
    db_type = field.db_type(connection)
    if db_type is None:
        return None
    if isinstance(field, models.JSONField) and (field.encoder or field.decoder):
        return Coded(field.encoder, field.decoder)
    if db_type.endswith("]"):
        return _array_of(field, db_type, connection)
    return _stored(db_type)


def _stored_field(field: Any) -> Any:
    while True:
        if isinstance(field, models.ForeignKey):
            field = field.target_field
        elif hasattr(field, "output_field") and getattr(field, "generated", False):
            field = field.output_field
        else:
            return field


def _array_of(field: Any, db_type: str, connection: Any) -> TypeEngine[Any]:
    dimensions = 0
    while (base := getattr(field, "base_field", None)) and field.db_type(connection).endswith("]"):
        field, dimensions = base, dimensions + 1
    if dimensions:
        return postgresql.ARRAY(type_of(field, connection) or Unknown(db_type), dimensions=dimensions)
    # A custom field that stores an array.
    return postgresql.ARRAY(_stored(re.sub(r"(\[\d*\])+$", "", db_type)))


def _stored(db_type: str) -> TypeEngine[Any]:
    spelled = _SPELLED.fullmatch(db_type)
    made = spelled and _STORED.get(spelled["name"])
    if not spelled or not made:
        return Unknown(db_type)
    return made(*map(int, (spelled["numbers"] or "").replace(",", " ").split()))
