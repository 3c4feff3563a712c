"""Models that are declared for a test, and made and dropped with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.db import connection, models

APP = "shop"


def meta_of(table: str, **options: Any) -> Any:
    """Return the ``Meta`` of a model with a table."""
    return type("Meta", (), {"app_label": APP, "db_table": table, **options})


@contextmanager
def passing_models(
    declare: Callable[[], list[type[models.Model]]], schema: str
) -> Iterator[list[type[models.Model]]]:
    """Declare models and make their tables, some of them in a schema; forget the models afterwards."""
    before = set(apps.all_models[APP])
    try:
        found = declare()
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE SCHEMA "{schema}"')
        with connection.schema_editor() as editor:
            for model in found:
                if model._meta.managed and not model._meta.proxy:
                    editor.create_model(model)
        yield found
    finally:
        for name in set(apps.all_models[APP]) - before:
            del apps.all_models[APP][name]
        apps.clear_cache()
