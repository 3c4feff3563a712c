"""Migration operations: a migration names SQL files and contains nothing else."""

from __future__ import annotations

import logging
from typing import Any, Literal

from django.core.management.base import CommandError
from django.db import DatabaseError, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from bemi_django import conf, destinations
from bemi_django.exceptions import sqlstate_of
from bemi_django.schema import installed, sql, tenancy
from bemi_django.schema.database_names import database_option
from bemi_django.schema.replication.slots import slot_of

logger = logging.getLogger(__name__)

#: Where a file is run: on sources, on the database with the log, on that one if it is a source as well,
#: or on all of these.
Where = Literal["source", "log", "both", "any"]

# The SQLSTATE of an error that says what an administrator has to do first.
_REFUSED = "BEMI2"
# What only Django's migrations need, and would be lost or left behind.
_IN_USE = """
SELECT 'the slot ' || s.slot_name FROM pg_catalog.pg_replication_slots s
WHERE s.database = pg_catalog.current_database() AND s.slot_name = %s::pg_catalog.name AND EXISTS (
    SELECT FROM _bemi.parts p WHERE p.name = 'tracking_v1' AND p.installers <@ '{django}')
UNION ALL
SELECT 'the log ' || %s || ', which has rows or a slot' FROM _bemi.parts p
WHERE p.name = 'changes_v1' AND p.installers <@ '{django}' AND _bemi.must_stay_v1(p.name)
"""


class RunSQLFile(Operation):
    """Install a part of :mod:`bemi_django.schema.sql` forwards, and remove it backwards.

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
        """Create the objects, unless somebody else has."""
        if self._is_wanted(schema_editor.connection.alias):
            _execute(sql.install("django", self.name, log=conf.table()), app_label, schema_editor)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop the objects, unless somebody else needs them."""
        # Wherever they are, because the settings may have changed since.
        _execute(sql.remove("django", self.name), app_label, schema_editor)

    def describe(self) -> str:
        """Return what the operation does, for the output of ``sqlmigrate``."""
        return f"Run the SQL file {self.name}"

    def _is_wanted(self, alias: str) -> bool:
        is_source, is_log = conf.is_source(alias), alias in destinations.aliases()
        return {
            "source": is_source,
            "log": is_log,
            "both": is_source and is_log,
            "any": is_source or is_log,
        }[self.where]


class RequireUninstall(Operation):
    """Refuse to undo the migrations while a slot or a log with rows would be lost or left behind.

    As the last operation of the last migration, it is the first one to be undone.
    """

    reduces_to_sql = False
    reversible = True

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Do nothing."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Do nothing."""

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Raise an error that names the command to use, if the last who needs them removes them."""
        connection = schema_editor.connection
        if schema_editor.collect_sql or not _is_for(connection, app_label):
            return
        with connection.cursor() as cursor:
            if not installed.has(cursor, "must_stay_v1"):
                return
            log = installed.log_of(cursor) if installed.has(cursor, "partition_v1") else ""
            cursor.execute(_IN_USE, [slot_of(connection.alias), log])
            found = [what for (what,) in cursor.fetchall()]
        if found:
            option = database_option(connection.alias)
            raise CommandError(
                f"the migrations of {app_label} cannot be undone on {connection.alias!r} while there is "
                f"{' and '.join(found)}: run 'manage.py bemi uninstall{option}' instead, with --keep-log to "
                "keep the log"
            )

    def describe(self) -> str:
        """Return what the operation does, for the output of ``sqlmigrate``."""
        return "Refuse to be undone while a slot or a log with rows is there"


class ReportRemains(Operation):
    """Log what is left in the database, and why, when the migration is undone.

    As the first operation of a migration, it is the last one to be undone.
    """

    reduces_to_sql = False
    reversible = True

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Do nothing."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Do nothing."""

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Log what is left."""
        if _execute(sql.read("left_v1"), app_label, schema_editor) and not schema_editor.collect_sql:
            with schema_editor.connection.cursor() as cursor:
                cursor.execute("SELECT pg_temp._bemi_left_v1()")
                for (line,) in cursor.fetchall():
                    logger.warning("%s: %s", schema_editor.connection.alias, line)

    def describe(self) -> str:
        """Return what the operation does, for the output of ``sqlmigrate``."""
        return "Report what is left when this is undone"


def _execute(statement: str, app_label: str, schema_editor: BaseDatabaseSchemaEditor) -> bool:
    """Execute a statement if the database is PostgreSQL and the routers allow it; return whether they do."""
    connection = schema_editor.connection
    if not _is_for(connection, app_label):
        return False
    try:
        # Without parameters a percent sign in the statement is a percent sign.
        schema_editor.execute(statement, params=None)
    except DatabaseError as error:
        if sqlstate_of(error) == _REFUSED:
            raise CommandError(str(error).strip().splitlines()[0]) from None
        raise
    return True


def _is_for(connection: BaseDatabaseWrapper, app_label: str) -> bool:
    # A database has one log. The migrations of a tenant make none, and take none away.
    return (
        connection.vendor == "postgresql"
        and router.allow_migrate(connection.alias, app_label)
        and tenancy.tenant_schema(connection.alias) is None
    )
