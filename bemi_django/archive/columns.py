"""The columns of the log, and how each is written to Parquet.

Exports and the archive write them in the same way: ids as text, moments with microseconds in UTC, numbers as
64-bit integers, and JSON as the text that PostgreSQL prints, which keeps every digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow
from pyarrow import parquet

from bemi_django.models import Change

#: The kinds of columns by the type of their field.
_KINDS = {
    "BigIntegerField": "bigint",
    "BooleanField": "boolean",
    "DateTimeField": "timestamptz",
    "JSONField": "jsonb",
    "TextField": "text",
    "UUIDField": "uuid",
}
_TYPES: Mapping[str, Any] = {
    "bigint": pyarrow.int64(),
    "boolean": pyarrow.bool_(),
    "jsonb": pyarrow.string(),
    "text": pyarrow.string(),
    "timestamptz": pyarrow.timestamp("us", tz="UTC"),
    "uuid": pyarrow.string(),
}
#: The names of the kinds, which are PostgreSQL's names of the types.
KINDS = frozenset(_TYPES)


def log_columns() -> dict[str, str]:
    """Return the kinds of the log's columns by name."""
    return {field.name: _KINDS[field.get_internal_type()] for field in Change._meta.concrete_fields}


def schema_of(columns: Mapping[str, str]) -> Any:
    """Return the schema of a Parquet file with columns, given by name and kind."""
    return pyarrow.schema([(name, _TYPES[kind]) for name, kind in columns.items()])


def open_writer(sink: Any, schema: Any) -> Any:
    """Return a writer of changes to a Parquet file, which is to be closed.

    Args:
        sink: A file that is open for writing.
        schema: The schema of the file.
    """
    return parquet.ParquetWriter(sink, schema, compression="zstd")
