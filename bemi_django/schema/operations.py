"""Migration operations: a migration names a SQL file, nothing else."""

from __future__ import annotations

from typing import Any

from django.db import router
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from bemi_django import conf
from bemi_django.schema import sql


class RunSQLFile(Operation):
    """Run ``sql/<name>_up.sql`` forwards and ``sql/<name>_down.sql`` backwards, on PostgreSQL only.

    With ``destination_only`` nothing happens but on the alias that holds ``changes``, with
    ``where_both_live`` only where that is a source, too.
    """

    reduces_to_sql = True
    reversible = True

    def __init__(self, name: str, *, destination_only: bool = False, where_both_live: bool = False) -> None:
        self.name = name
        self.destination_only = destination_only
        self.where_both_live = where_both_live

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        return None

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        self._run("up", app_label, schema_editor)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        self._run("down", app_label, schema_editor)

    def describe(self) -> str:
        return f"Run the SQL file {self.name}"

    def _run(self, direction: str, app_label: str, schema_editor: BaseDatabaseSchemaEditor) -> None:
        connection = schema_editor.connection
        if connection.vendor != "postgresql" or not self._wanted(connection.alias, app_label):
            return
        # Without parameters a percent sign in the file is a percent sign.
        schema_editor.execute(sql.read(f"{self.name}_{direction}"), params=None)

    def _wanted(self, alias: str, app_label: str) -> bool:
        if self.where_both_live:
            return alias == conf.destination() and conf.is_source(alias)
        if self.destination_only:
            return alias == conf.destination()
        return conf.is_source(alias) and router.allow_migrate(alias, app_label)
