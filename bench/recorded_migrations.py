"""The DDL of the migrations of Django's and Wagtail's apps, recorded by running them.

As a program, it prints the statements of each migration as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django
from django.conf import settings

from bench.servers import parameters
from sample_project.postgres_server import Server

_APPS = (
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.flatpages",
    "django.contrib.messages",
    "django.contrib.redirects",
    "django.contrib.sessions",
    "django.contrib.sites",
    "wagtail.contrib.forms",
    "wagtail.contrib.redirects",
    "wagtail.contrib.search_promotions",
    "wagtail.contrib.settings",
    "wagtail.contrib.simple_translation",
    "wagtail.embeds",
    "wagtail.sites",
    "wagtail.users",
    "wagtail.snippets",
    "wagtail.documents",
    "wagtail.images",
    "wagtail.search",
    "wagtail.admin",
    "wagtail",
    "modelcluster",
    "taggit",
)


def recorded(server: Server, database: str) -> list[list[str]]:
    """Return the statements of each migration, by running them in an empty database."""
    environment = {**os.environ, "BENCH_DATABASE": json.dumps(parameters(server, database))}
    command = [sys.executable, "-m", __spec__.name]
    result = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    found: list[list[str]] = json.loads(result.stdout)
    return found


@contextmanager
def _recording(migrations: list[list[str]]) -> Iterator[None]:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations import Migration

    execute, apply = BaseDatabaseSchemaEditor.execute, Migration.apply

    def recorded_execute(editor: Any, sql: Any, params: Any = ()) -> None:
        execute(editor, sql, params)
        with editor.connection.cursor() as cursor:
            text = cursor.mogrify(str(sql), params or None)
        migrations[-1].append(text.decode() if isinstance(text, bytes) else text)

    def recorded_apply(migration: Any, *args: Any, **options: Any) -> Any:
        migrations.append([])
        return apply(migration, *args, **options)

    BaseDatabaseSchemaEditor.execute = recorded_execute  # type: ignore[method-assign]
    Migration.apply = recorded_apply  # type: ignore[method-assign]
    try:
        yield
    finally:
        BaseDatabaseSchemaEditor.execute = execute  # type: ignore[method-assign]
        Migration.apply = apply  # type: ignore[method-assign]


def main() -> None:
    from django.core.management import call_command

    given = json.loads(os.environ["BENCH_DATABASE"])
    database = {name.upper(): given[name] for name in ("host", "port", "user", "password")}
    settings.configure(
        DATABASES={
            "default": {"ENGINE": "django.db.backends.postgresql", "NAME": given["dbname"], **database}
        },
        INSTALLED_APPS=_APPS,
        SECRET_KEY="bench",
        USE_TZ=True,
        STATIC_URL="/static/",
        WAGTAIL_SITE_NAME="bench",
        WAGTAILSEARCH_BACKENDS={"default": {"BACKEND": "wagtail.search.backends.database"}},
    )
    django.setup()
    # The first is the table of the migrations themselves.
    migrations: list[list[str]] = [[]]
    with _recording(migrations):
        call_command("migrate", verbosity=0)
    json.dump(migrations, sys.stdout)


if __name__ == "__main__":
    main()
