"""Ask the files of an archive in SQL, with DuckDB.

DuckDB reads no file itself: pyarrow reads those of the archive, and hands their rows over. So no query can
reach another file or the network, and DuckDB never knows the credentials of the storage.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import duckdb
import pyarrow
from pyarrow import compute, dataset

from bemi_django.archive.columns import log_columns, schema_of
from bemi_django.archive.location import Location
from bemi_django.archive.manifest import Manifest, read_manifest
from bemi_django.archive.query.moments_as_text import with_moments_as_text
from bemi_django.exceptions import ArchiveError, first_line

_CONFIG = {
    "allow_community_extensions": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    # A name in the query must not be taken for a variable of this program.
    "python_enable_replacements": False,
}
_LOCK = "SET TimeZone = 'UTC'; SET enable_external_access = false; SET lock_configuration = true"
_CASTS = {"jsonb": "JSON", "uuid": "UUID"}
_ROWS = "_bemi_rows"
#: The number of rows that are fetched at a time.
_BATCH = 1_000


class ArchiveAnswer(NamedTuple):
    """The result of a query.

    Attributes:
        columns: The name and the type, as DuckDB calls it, of each column.
        rows: The rows.
    """

    columns: list[tuple[str, str]]
    rows: Iterator[tuple[Any, ...]]


@contextmanager
def asking(location: Location, table: str, query: str) -> Iterator[ArchiveAnswer]:
    """Yield the answer to a query, with dates, times and intervals as text.

    Args:
        location: The archive.
        table: The name of the log's table in the query.
        query: One SELECT.

    Raises:
        ArchiveError: The query is not one SELECT, or DuckDB refuses it.
    """
    with tempfile.TemporaryDirectory() as scratch, _told():
        connection = duckdb.connect(":memory:", config={**_CONFIG, "temp_directory": scratch})
        try:
            connection.register(_ROWS, changes_of(location))
            connection.execute(_view(table))
            connection.execute(_LOCK)
            _require_select(connection, query)
            found = connection.execute(with_moments_as_text(connection, query))
            yield ArchiveAnswer([(name, str(kind)) for name, kind, *_ in found.description], _fetched(found))
        finally:
            connection.close()


def changes_of(location: Location) -> Any:
    """Return the changes of all complete months as a dataset of Arrow."""
    manifests = [found for month in location.months() if (found := read_manifest(location, month))]
    if not manifests:
        raise ArchiveError(f"the archive {location.name} has no month: run 'manage.py bemi archive' first")
    paths = [location.path(found.month, part.name) for found in manifests for part in found.parts]
    # A month that a query does not need is not opened.
    bounds = [_bounds(found) for found in manifests for _ in found.parts]
    return dataset.FileSystemDataset.from_paths(
        paths,
        schema=schema_of(log_columns()),
        format=dataset.ParquetFileFormat(),
        filesystem=location.files,
        partitions=bounds,
    )


def _bounds(manifest: Manifest) -> Any:
    moment = compute.field("committed_at")
    kind = pyarrow.timestamp("us", tz="UTC")
    start, end = (pyarrow.scalar(month.start, kind) for month in (manifest.month, manifest.month.next))
    return (moment >= start) & (moment < end)


def _view(table: str) -> str:
    columns = ", ".join(_selected(name, kind) for name, kind in log_columns().items())
    name = table.replace('"', '""')
    return f'CREATE VIEW "{name}" AS SELECT {columns} FROM "{_ROWS}"'  # noqa: S608 - the model's names


def _selected(name: str, kind: str) -> str:
    return f'"{name}"::{_CASTS[kind]} AS "{name}"' if kind in _CASTS else f'"{name}"'


def _require_select(connection: Any, query: str) -> None:
    statements = connection.extract_statements(query)
    allowed = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
    if len(statements) != 1 or statements[0].type not in allowed:
        raise ArchiveError("the archive is only read: give one SELECT")


def _fetched(found: Any) -> Iterator[tuple[Any, ...]]:
    while rows := found.fetchmany(_BATCH):
        yield from rows


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (duckdb.Error, pyarrow.ArrowException, OSError) as error:
        raise ArchiveError(f"the archive cannot answer: {first_line(error)}") from error
