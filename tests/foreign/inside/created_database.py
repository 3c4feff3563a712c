"""Create a database of this name; with ``--tracked``, track its tables, with the log in another one."""

from __future__ import annotations

import os
import sys

import django
from django.conf import settings

from tests.foreign.inside.foreign_database import database


def main() -> None:
    name, *options = sys.argv[1:]
    settings.configure(
        INSTALLED_APPS=["bemi_django"],
        DATABASES={"default": database("postgres"), "log": database("postgres")},
        DATABASE_ROUTERS=["bemi_django.routers.BemiRouter"],
        # Elsewhere, so that tests of reflection do not find the log among their own tables.
        BEMI_DESTINATION="log",
        BEMI_INCLUDE=["*.*"],
        USE_TZ=True,
    )
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    connection.close()
    connection.settings_dict["NAME"] = name
    with connection.cursor() as cursor:
        for statement in ("CREATE SCHEMA test_schema", "CREATE EXTENSION hstore", "CREATE EXTENSION citext"):
            cursor.execute(statement)
    if options:
        call_command("migrate", verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE django_migrations")
            cursor.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
            assert cursor.fetchall() == [], "the database must have no tables"


if __name__ == "__main__":
    main()
