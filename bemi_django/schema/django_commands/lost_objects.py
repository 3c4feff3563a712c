"""Objects of this package that are gone although Django takes its migrations for applied.

A dump of some schemas only was restored, for example, or ``migrate --fake`` was run, or the log was to be in
another database when they were applied.
"""

from __future__ import annotations

from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from bemi_django import conf, destinations
from bemi_django.schema import installed, tenancy
from bemi_django.schema.database_names import database_option

_APP = "bemi_django"


def are_missing(alias: str) -> bool:
    """Return whether a database lacks what makes it a source, or the log."""
    connection = connections[alias]
    if connection.vendor != "postgresql":
        return False
    wanted = {"plan_v1": conf.is_source(alias), "partition_v1": destinations.is_log(alias)}
    with connection.cursor() as cursor:
        return not all(installed.has(cursor, name) for name, is_wanted in wanted.items() if is_wanted)


def are_lost(alias: str) -> bool:
    """Return whether a database lacks what its applied migrations make of it, as a source and as the log."""
    if not are_missing(alias):
        return False
    with tenancy.in_schema(alias, tenancy.public_schema()):
        recorder = MigrationRecorder(connections[alias])
        return any(app == _APP for app, _ in recorder.applied_migrations())


def remedy(alias: str) -> str:
    """Return what to run where objects are missing, as part of a sentence."""
    option = database_option(alias)
    if not are_lost(alias):
        return f"'manage.py migrate {_APP}{option}' first"
    return (
        f"'manage.py migrate --fake {_APP} zero{option}', then 'manage.py migrate {_APP}{option}': a dump of "
        "some schemas was restored without the schema _bemi, migrate --fake was run, or BEMI_DESTINATION was "
        "another database"
    )
