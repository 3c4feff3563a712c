"""Migration operations: a migration names a SQL file, nothing else."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError, router
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from bemi_django import conf
from bemi_django.exceptions import sqlstate_of
from bemi_django.schema import sql

# The SQLSTATE with which the files say what an administrator has to do first.
_REFUSED = "BEMI2"


class RunSQLFile(Operation):
    """Run ``sql/<name>_up.sql`` forwards and ``sql/<name>_down.sql`` backwards, on PostgreSQL only.

    It runs on aliases that are sources; with ``destination_only`` on the one that holds ``changes``, with
    ``where_both_live`` there only if it is a source, too, and with ``anywhere`` on all of these.
    """

    reduces_to_sql = True
    reversible = True

    def __init__(
        self,
        name: str,
        *,
        destination_only: bool = False,
        where_both_live: bool = False,
        anywhere: bool = False,
    ) -> None:
        self.name = name
        self.anywhere = anywhere
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
        try:
            schema_editor.execute(sql.script(f"{self.name}_{direction}"), params=None)
        except DatabaseError as error:
            if sqlstate_of(error) == _REFUSED:
                raise CommandError(str(error).strip().splitlines()[0]) from None
            raise

    def _wanted(self, alias: str, app_label: str) -> bool:
        is_source = conf.is_source(alias) and router.allow_migrate(alias, app_label)
        if self.anywhere:
            return is_source or alias == conf.destination()
        if self.where_both_live:
            return alias == conf.destination() and conf.is_source(alias)
        if self.destination_only:
            return alias == conf.destination()
        return is_source
