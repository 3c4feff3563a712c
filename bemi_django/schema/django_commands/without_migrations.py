"""Install the package where its migrations are switched off, as tests often do to be faster.

Django then creates the tables of all models as if no migration were there: with ``MIGRATE = False`` in the
``TEST`` of a database, with ``MIGRATION_MODULES``, and so with ``pytest --nomigrations``. The tables of this
package are more than what its models say.
"""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps
from django.db import connections, models, router, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.models.signals import post_migrate, pre_migrate

from bemi_django import conf, destinations
from bemi_django.schema import sql, tenancy

_APP = "bemi_django"

#: Models of which Django must not create the tables now.
_hidden: list[type[models.Model]] = []


def install(config: AppConfig) -> None:
    """Listen to ``migrate``.

    Args:
        config: The configuration of this app.
    """
    pre_migrate.connect(_before, sender=config, dispatch_uid="bemi_django_without_migrations")
    post_migrate.connect(_after, sender=config, dispatch_uid="bemi_django_without_migrations")


def _before(using: str, **kwargs: Any) -> None:
    module, _ = MigrationLoader.migrations_module(_APP)
    if module is not None:
        return
    if _is_for(using) and (parts := _parts(using)):
        with transaction.atomic(using=using), connections[using].cursor() as cursor:
            cursor.execute(sql.install("django", *parts, log=conf.table()))
    for model in apps.get_app_config(_APP).get_models():
        if model._meta.managed:
            model._meta.managed = False
            _hidden.append(model)


def _after(**kwargs: Any) -> None:
    while _hidden:
        _hidden.pop()._meta.managed = True


def _is_for(alias: str) -> bool:
    return (
        connections[alias].vendor == "postgresql"
        and router.allow_migrate(alias, _APP)
        and tenancy.tenant_schema(alias) is None
    )


def _parts(alias: str) -> tuple[str, ...]:
    is_source, is_log = conf.is_source(alias), alias in destinations.aliases()
    return (
        *(sql.SOURCE if is_source else ()),
        *(sql.LOG if is_log else ()),
        *(sql.PAST if is_source and is_log else ()),
    )
