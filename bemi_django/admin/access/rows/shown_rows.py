"""Tell which rows a ``ModelAdmin`` shows: those of its ``get_queryset()``, and all to superusers."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, NamedTuple

from django.contrib.admin import ModelAdmin
from django.db import DEFAULT_DB_ALIAS, models, transaction
from django.http import HttpRequest

from bemi_django.log.keys import key_of_value

logger = logging.getLogger(__name__)


class _Name(NamedTuple):
    # The admins of a model and of its proxies may show others of the same rows.
    model: type[models.Model]
    alias: str
    # As the log writes it: some keys have no hash, and equal ones may have different representations.
    key: str


class ShownRows:
    """What the admins of models have in their lists for one user; asked once for each row.

    Args:
        request: The request of the user.
    """

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._known: dict[_Name, bool] = {}

    def learn(self, registered: Any, instances: Collection[models.Model]) -> None:
        """Ask for several rows at once.

        Args:
            registered: The admin of their model, or None.
            instances: The rows, all of one model and database.
        """
        if not self._is_limited(registered):
            return
        model = registered.model
        named = {_name(model, one): one for one in instances}
        fresh = {name: one for name, one in named.items() if name is not None and name not in self._known}
        if not fresh:
            return
        alias = next(iter(fresh)).alias
        try:
            with transaction.atomic(using=alias):
                rows = registered.get_queryset(self._request).using(alias)
                shown = rows.filter(pk__in=[one.pk for one in fresh.values()]).values_list("pk", flat=True)
                found = {key_of_value(model, key) for key in shown}
        except Exception as error:
            # Code of the project, which may expect another request: what it would show is not known.
            logger.warning(
                "%s.get_queryset() failed, so its rows are hidden: %s",
                type(registered).__qualname__,
                type(error).__name__,
            )
            found = set()
        self._known |= {name: name.key in found for name in fresh}

    def has(self, registered: Any, instance: models.Model) -> bool:
        """Tell whether an admin shows a row."""
        self.learn(registered, [instance])
        name = _name(registered.model, instance)
        return not self._is_limited(registered) or (name is not None and self._known[name])

    def _is_limited(self, registered: Any) -> bool:
        if registered is None or type(registered).get_queryset is ModelAdmin.get_queryset:
            return False
        # Rows that are hidden from them, such as those marked as deleted, are so for order, not for secrecy.
        return not self._request.user.is_superuser


def _name(model: type[models.Model], instance: models.Model) -> _Name | None:
    """Return what tells a row from others, or None if its key is none that its field accepts."""
    try:
        return _Name(model, instance._state.db or DEFAULT_DB_ALIAS, key_of_value(model, instance.pk))
    except Exception:
        # A field of the project may expect anything of its values.
        return None
