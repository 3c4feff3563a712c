"""Migration operations: a migration names SQL files and contains nothing else."""

from __future__ import annotations

from typing import Any, Literal

from django.core.management.base import CommandError
from django.db import DatabaseError, router
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from bemi_django import conf
from bemi_django.exceptions import sqlstate_of
from bemi_django.schema import sql

#: Where a file is run: on sources, on the database with the log, on that one if it is a source as well,
#: or on all of these.
Where = Literal["source", "log", "both", "any"]

# The SQLSTATE of an error that says what an administrator has to do first.
_REFUSED = "BEMI2"


class RunSQLFile(Operation):
    """Run ``sql/<name>_up.sql`` forwards and ``sql/<name>_down.sql`` backwards.

    Only on PostgreSQL, and only where the routers allow the app.
    """

    reduces_to_sql = True
    reversible = True

    def __init__(self, name: str, where: Where = "source") -> None:
        self.name = name
        self.where = where

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Do nothing: the models are the business of other operations."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Run the file that creates the objects."""
        self._run(sql.up(self.name), app_label, schema_editor)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Run the file that drops the objects."""
        self._run(sql.down(self.name), app_label, schema_editor)

    def describe(self) -> str:
        """Return what the operation does, for the output of ``sqlmigrate``."""
        return f"Run the SQL file {self.name}"

    def _run(self, script: str, app_label: str, schema_editor: BaseDatabaseSchemaEditor) -> None:
        connection = schema_editor.connection
        if connection.vendor != "postgresql" or not router.allow_migrate(connection.alias, app_label):
            return
        if not self._is_wanted(connection.alias):
            return
        try:
            # Without parameters a percent sign in the file is a percent sign.
            schema_editor.execute(script, params=None)
        except DatabaseError as error:
            if sqlstate_of(error) == _REFUSED:
                raise CommandError(str(error).strip().splitlines()[0]) from None
            raise

    def _is_wanted(self, alias: str) -> bool:
        is_source, is_log = conf.is_source(alias), alias == conf.destination()
        return {
            "source": is_source,
            "log": is_log,
            "both": is_source and is_log,
            "any": is_source or is_log,
        }[self.where]
