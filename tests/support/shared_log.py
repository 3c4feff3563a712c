"""Several sources in one log: each pipeline sees the changes of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from bemi_django.wire.ids import source_in, source_of
from sample_project.postgres_server import Server
from tests.support.cluster import Cluster
from tests.support.load_pipeline import LoadPipeline, install


class OtherDatabase(Cluster):
    """Another database of a server; it is dropped in the end."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster, self._name, self._connection = cluster, name, None
        cluster.run(f"CREATE DATABASE {name}")
        install(self)

    @property
    def server(self) -> Server:
        return replace(self._cluster.server, dbname=self._name)

    def close(self) -> None:
        """Drop the database."""
        if self._connection is not None:
            self._connection.close()
        self._cluster.run(f"DROP DATABASE {self._name} WITH (FORCE)")


class SharedLogPipeline(LoadPipeline):
    """Records the table ``load`` of one of several sources."""

    @property
    def number(self) -> int:
        """The number of the source in the ids of its changes."""
        identifier = self.source.one("SELECT system_identifier::text FROM pg_control_system()")
        return source_of(identifier, self.source.server.dbname)

    def _log(self, query: str) -> list[Any]:
        number = self.number
        rows = super()._log(query.replace("SELECT ", "SELECT id::text, ", 1))
        return [row[1:] for row in rows if source_in(UUID(row[0]).bytes) == number]
