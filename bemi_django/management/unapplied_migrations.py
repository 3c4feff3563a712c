"""Migrations of this package that ``bemi uninstall`` makes Django forget."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.management.base import CommandError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from bemi_django.schema import tenancy
from bemi_django.schema.sql import Installer

_APP = "bemi_django"


def unapply(alias: str, installers: Sequence[Installer]) -> None:
    """Make Django forget the migrations, so that it can run them again.

    Args:
        alias: The alias of the database.
        installers: Those who need the installation no longer: nothing happens unless Django is one of them.

    Raises:
        CommandError: A migration of another app depends on them.
    """
    if "django" in installers:
        # Those of a tenant have installed nothing.
        with tenancy.in_schema(alias, tenancy.public_schema()):
            _forget_migrations(connections[alias])


def _forget_migrations(connection: BaseDatabaseWrapper) -> None:
    recorder = MigrationRecorder(connection)
    applied = recorder.applied_migrations()
    ours = [name for app, name in applied if app == _APP]
    graph = MigrationLoader(connection).graph
    for name in ours:
        node = graph.node_map.get((_APP, name))
        for child in node.children if node else ():
            if child.key in applied and child.key[0] != _APP:
                raise CommandError(f"the migration {'.'.join(child.key)} depends on {_APP}: unapply it first")
    for name in ours:
        recorder.record_unapplied(_APP, name)
