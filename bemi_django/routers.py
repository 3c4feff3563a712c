"""Route the audit trail to the database that holds it, and the past to the one that shows it."""

from __future__ import annotations

from typing import Any

from django.db import connections, router
from django.db.models import Model

from bemi_django import conf, destinations
from bemi_django.schema.database_names import are_one_database

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

    def allow_migrate(
        self, db: str, app_label: str, model_name: str | None = None, **hints: Any
    ) -> bool | None:
        """Allow the migrations of this app on every database, but its models only where a log is.

        Every database gets triggers; the operation that creates the log checks for its destination. Django
        asks for models where it reads their tables: ``dumpdata``, ``serialized_rollback`` of tests.
        """
        if app_label != _APP:
            return None
        return model_name is None or db in destinations.aliases()


class PastRouter:
    """Read models inside ``as_of()`` from the database that they are written to, if that one is in the past.

    Otherwise a router that lets models be read from a replica would lead to the present.
    """

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        """Return what other routers answer, or the alias of a database in the past if they lead past it."""
        past = [
            one.alias for one in connections.all(initialized_only=True) if getattr(one, "bemi_past", None)
        ]
        if not past:
            return None
        answers = (one.db_for_read(model, **hints) for one in router.routers if _can_answer(one))
        chosen: str | None = next(filter(None, answers), None)
        # Not None, which would let a router choose again.
        if chosen is None or chosen in past:
            return chosen
        if (home := router.db_for_write(model, **hints)) in past:
            return str(home)
        alias: Any = getattr(getattr(hints.get("instance"), "_state", None), "db", None)
        # An instance of another replica, which is in the past.
        return alias if alias in past and are_one_database(alias, chosen) else chosen


def lead_to_past() -> None:
    """Add the router of the past to those of the process, in front, unless it is there."""
    if not any(isinstance(one, PastRouter) for one in router.routers):
        router.routers.insert(0, PastRouter())


def _can_answer(one: Any) -> bool:
    return hasattr(one, "db_for_read") and not isinstance(one, PastRouter)
