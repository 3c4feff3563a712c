"""``StepInstances``: the objects that the steps of a plan are about, read many at a time."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import models

from bemi_django.admin.access.logged_models import LoggedModel
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.object_labels import live_instances
from bemi_django.log.change import ChangeQuerySet

#: The number of changes whose objects are read at once; a page reverts no more.
_MOST = 2000
_NAMES = ("schema", "table", "primary_key")


class StepInstances:
    """Returns the objects of rows as they are; each is read once.

    Args:
        viewer: The user who sees the plan.
        database: The database that has the rows.
        changes: The changes that are reverted. Their objects are read when the first one is asked for.
    """

    def __init__(self, viewer: Viewer, database: str, changes: ChangeQuerySet | None = None) -> None:
        self._viewer = viewer
        self._database = database
        self._changes = changes
        self._known: dict[tuple[LoggedModel, str], models.Model | None] = {}

    def of(self, logged: LoggedModel, key: str | None) -> models.Model | None:
        """Return the object of a row, or None if it does not exist."""
        if key is None:
            return None
        if self._changes is not None:
            self._learn(self._changes.values_list(*_NAMES)[:_MOST])
            self._changes = None
        if (logged, key) not in self._known:
            self._known[logged, key] = live_instances(logged, [key], self._viewer).get(key)
        return self._known[logged, key]

    def _learn(self, rows: Iterable[tuple[str, str, str | None]]) -> None:
        wanted: dict[LoggedModel, set[str]] = {}
        for schema, table, key in rows:
            logged = self._viewer.logged_models.model_at(self._database, schema, table)
            if logged is not None and key is not None:
                wanted.setdefault(logged, set()).add(key)
        for logged, keys in wanted.items():
            found = live_instances(logged, keys, self._viewer)
            # None at all can mean that one of the keys is refused: then each is asked for alone.
            self._known |= {(logged, key): found.get(key) for key in keys if found}
