"""Tell which rows a ``ModelAdmin`` shows: those of its ``get_queryset()``, and all to superusers."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from django.contrib.admin import ModelAdmin
from django.db import DEFAULT_DB_ALIAS, models, transaction
from django.http import HttpRequest

logger = logging.getLogger(__name__)


class ShownRows:
    """What the admins of models have in their lists for one user; asked once for each row.

    Args:
        request: The request of the user.
    """

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._known: dict[tuple[type[models.Model], str, str], bool] = {}

    def learn(self, registered: Any, instances: Collection[models.Model]) -> None:
        """Ask for several rows at once.

        Args:
            registered: The admin of their model, or None.
            instances: The rows, all of one model and database.
        """
        if registered is None or type(registered).get_queryset is ModelAdmin.get_queryset:
            return
        # Rows that are hidden from them, such as those marked as deleted, are so for order, not for secrecy.
        if self._request.user.is_superuser:
            return
        model = registered.model
        fresh = {key: one for one in instances if (key := _name(model, one)) not in self._known}
        if not fresh:
            return
        alias = next(iter(fresh))[1]
        try:
            with transaction.atomic(using=alias):
                rows = registered.get_queryset(self._request).using(alias)
                shown = rows.filter(pk__in=[one.pk for one in fresh.values()]).values_list("pk", flat=True)
                found = set(map(repr, shown))
        except Exception as error:
            # Code of the project, which may expect another request: what it would show is not known.
            logger.warning(
                "%s.get_queryset() failed, so its rows are hidden: %s",
                type(registered).__qualname__,
                type(error).__name__,
            )
            found = set()
        self._known |= {key: repr(one.pk) in found for key, one in fresh.items()}

    def has(self, registered: Any, instance: models.Model) -> bool:
        """Tell whether an admin shows a row."""
        self.learn(registered, [instance])
        return self._known.get(_name(registered.model, instance), True)


def _name(model: type[models.Model], instance: models.Model) -> tuple[type[models.Model], str, str]:
    # The admins of a model and of its proxies may show others of the same rows. Some keys have no hash.
    return model, instance._state.db or DEFAULT_DB_ALIAS, repr(instance.pk)
