"""Django's configuration of the app."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import DatabaseError, connections
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from bemi_django.masking.rules import Rules

logger = logging.getLogger(__name__)

_NOT_YET = (
    "  bemi_django: no change is recorded yet. Recording begins when 'manage.py bemi run{0}' first runs, "
    "or now with 'manage.py bemi sync --create-slot{0}'"
)


class BemiConfig(AppConfig):
    """Install the hooks and checks when Django starts."""

    name = "bemi_django"
    verbose_name = _("Audit trail")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Install hooks on connections and commands, and track new tables after each ``migrate``."""
        from bemi_django import checks as checks  # importing registers them
        from bemi_django import conf
        from bemi_django.alerts.alarm import ALARMS
        from bemi_django.capture import context_masks, signing
        from bemi_django.capture.hooks import commands, django_db
        from bemi_django.handlers.registry import add_changing
        from bemi_django.schema.django_commands import inspection, without_migrations

        add_changing(ALARMS)
        inspection.install()
        without_migrations.install(self)
        if not conf.captures():
            return
        context_masks.use(_rules)
        signing.use(_keys)
        setting_changed.connect(_read_settings_again, sender=None, dispatch_uid="bemi_django_settings")
        django_db.install()
        commands.install()
        if apps.is_installed("django.contrib.auth"):
            from bemi_django.events import sign_ins

            sign_ins.install()
        post_migrate.connect(_track_new_tables, sender=self, dispatch_uid="bemi_django")
        if apps.is_installed("aldjemy"):
            _install_on_aldjemy()


def _rules() -> Rules:
    from bemi_django.mask_rules import configured_masks
    from bemi_django.masking.rules import DEFAULT

    try:
        return configured_masks()
    # A check reports it; no write may fail because of it.
    except ImproperlyConfigured:
        return DEFAULT


def _keys() -> tuple[bytes, ...]:
    from bemi_django.signing_keys import configured_keys

    try:
        return configured_keys()
    # A check reports it; no write may fail because of it.
    except ImproperlyConfigured:
        return ()


def _read_settings_again(*, setting: str, **kwargs: Any) -> None:
    from bemi_django.capture import context_masks, signing
    from bemi_django.schema.django_commands import catalog_state

    catalog_state.forget_setting(setting)
    if setting in ("BEMI_MASK", "BEMI_MASK_KEY", "BEMI_ENCRYPTION_KEY", "BEMI_KEY_STORE"):
        context_masks.use(_rules)
    if setting == "BEMI_CONTEXT_KEYS":
        signing.use(_keys)


def _track_new_tables(using: str, verbosity: int = 1, stdout: Any = None, **kwargs: Any) -> None:
    from bemi_django import checks, conf, destinations
    from bemi_django.events.operator_context import record_sync
    from bemi_django.exceptions import NotInstalled
    from bemi_django.schema import installed
    from bemi_django.schema.database_names import database_option
    from bemi_django.schema.django_commands import catalog_state

    if not conf.is_source(using) and not destinations.is_log(using):
        return
    try:
        # A standby has what its primary has.
        if installed.is_standby(using):
            return
        outcome = catalog_state.sync_if_changed(using)
        failed = outcome.failed
        if conf.is_source(using):
            record_sync(outcome.done, None, using)
    except NotInstalled:
        return
    except DatabaseError as error:
        failed = [str(error).strip()]
    else:
        if (
            verbosity > 0
            and stdout is not None
            and conf.is_source(using)
            and checks.is_recording_to_begin(using)
        ):
            stdout.write(_NOT_YET.format(database_option(using)))
    for line in failed:
        option = database_option(using) if conf.is_source(using) else ""
        logger.warning("not everything is tracked yet, run 'manage.py bemi sync%s': %s", option, line)


def _install_on_aldjemy() -> None:
    from aldjemy.core import SQLALCHEMY_ENGINES, get_engine, get_engine_string

    from bemi_django.capture.hooks import sqlalchemy_engine
    from bemi_django.capture.hooks.sqlalchemy_past import follow

    for alias in connections:
        if connections[alias].vendor == "postgresql" and get_engine_string(alias) in SQLALCHEMY_ENGINES:
            sqlalchemy_engine.install(get_engine(alias))
            follow(get_engine(alias), alias)
