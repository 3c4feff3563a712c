"""Route the audit trail to the database that holds it."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from bemi_django import conf, destinations

_APP = "bemi_django"
#: What belongs to no log in particular is where the first one is.
_OF_ALL_LOGS = ("AlertRule", "SavedView")


class BemiRouter:
    """Send ``Change`` to ``BEMI_DESTINATION``. Add it to ``DATABASE_ROUTERS``, before other routers."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        """Return the alias of the database that holds the log, for models of this app only."""
        if model._meta.app_label != _APP:
            return None
        return destinations.first() if model.__name__ in _OF_ALL_LOGS else conf.destination()

    def db_for_write(self, model: type[Model], **hints: Any) -> str | None:
        """Return the alias of the database that holds the log, for models of this app only."""
        return self.db_for_read(model)

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Allow the migrations of this app on every database.

        Every database gets triggers; the operation that creates the log checks for its destination.
        """
        return True if app_label == _APP else None
