"""Where the audit trail lives."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from bemi_django import conf

_APP = "bemi_django"


class BemiRouter:
    """Sends ``Change`` to ``BEMI_DESTINATION``; add it to ``DATABASE_ROUTERS``, before others."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        return conf.destination() if model._meta.app_label == _APP else None

    def db_for_write(self, model: type[Model], **hints: Any) -> str | None:
        return self.db_for_read(model)

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        # Triggers go to every database; the operation of the log asks for its destination itself.
        return True if app_label == _APP else None
