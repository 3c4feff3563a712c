"""What a worker works on, and its connections."""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg2

from bemi_django.wal.source import Source

#: For the text form of values: what PostgreSQL's defaults are not everywhere.
_SESSION = (
    "-c DateStyle=ISO -c IntervalStyle=postgres -c bytea_output=hex -c TimeZone=UTC "
    "-c extra_float_digits=1 -c synchronous_commit=on"
)


class Job(NamedTuple):
    """``source`` and ``destination`` are libpq's parameters."""

    source: dict[str, Any]
    destination: dict[str, Any]
    slot: str
    publication: str
    accept_gap: bool = False

    def connect_source(self) -> Any:
        """A connection to the source, in autocommit."""
        connection = psycopg2.connect(**self._source_parameters("UTF8"))
        connection.autocommit = True
        return connection

    def connect_stream(self, server_encoding: str) -> Source:
        """A replication connection to the source."""
        # An encoding that takes any bytes is not converted: the server would stop at those that are no text.
        encoding = "SQL_ASCII" if server_encoding == "SQL_ASCII" else "UTF8"
        return Source(self._source_parameters(encoding))

    def connect_destination(self) -> Any:
        """A connection to the database that holds ``changes``."""
        return psycopg2.connect(**self.destination)

    def _source_parameters(self, encoding: str) -> dict[str, Any]:
        options = f"{self.source.get('options', '')} {_SESSION}".strip()
        return {**self.source, "options": options, "client_encoding": encoding}
