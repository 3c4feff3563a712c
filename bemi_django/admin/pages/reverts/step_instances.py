"""``StepInstances``: the objects that the steps of a plan are about, read many at a time."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import DEFAULT_DB_ALIAS, models

from bemi_django.admin.access.logged_models import LoggedModel
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.object_labels import live_instances
from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change

#: The number of changes whose objects are read at once; a page reverts no more.
_MOST = 2000
_NAMES = ("schema", "table", "primary_key")


class StepInstances:
    """Returns the objects of rows as they are; each is read once.

    Args:
        viewer: The user who sees the plan.
        database: The database that has the rows.
        changes: The changes that are reverted. Their objects are read when the first one is asked for, and
            those of their transactions, which a revert may add, when one is missing.
    """

    def __init__(self, viewer: Viewer, database: str, changes: ChangeQuerySet | None = None) -> None:
        self._viewer = viewer
        self._database = database
        self._changes = changes
        self._log = DEFAULT_DB_ALIAS
        self._transactions: set[int] = set()
        self._known: dict[tuple[LoggedModel, str], models.Model | None] = {}

    def of(self, logged: LoggedModel, key: str | None) -> models.Model | None:
        """Return the object of a row, or None if it does not exist."""
        if key is None:
            return None
        if self._changes is not None and (logged, key) not in self._known:
            self._learn_selected(self._changes)
        if self._transactions and (logged, key) not in self._known:
            self._learn_transactions()
        if (logged, key) not in self._known:
            self._known[logged, key] = live_instances(logged, [key], self._viewer).get(key)
        return self._known[logged, key]

    def learn(self, rows: Iterable[tuple[str, str, str | None]]) -> None:
        """Read the objects of several rows at once, given by schema, table and key."""
        wanted: dict[LoggedModel, set[str]] = {}
        for schema, table, key in rows:
            logged = self._viewer.logged_models.model_at(self._database, schema, table)
            if logged is not None and key is not None and (logged, key) not in self._known:
                wanted.setdefault(logged, set()).add(key)
        for logged, keys in wanted.items():
            found = live_instances(logged, keys, self._viewer)
            # None at all can mean that one of the keys is refused: then each is asked for alone.
            self._known |= {(logged, key): found.get(key) for key in keys if found}

    def _learn_selected(self, changes: ChangeQuerySet) -> None:
        rows = list(changes.values_list(*_NAMES, "transaction_id")[:_MOST])
        self._transactions = {row[3] for row in rows}
        self._changes, self._log = None, changes.db
        self.learn(row[:3] for row in rows)

    def _learn_transactions(self) -> None:
        written = Change.objects.using(self._log).filter(
            database=self._database, transaction_id__in=self._transactions
        )
        self._transactions = set()
        self.learn(written.order_by().values_list(*_NAMES)[:_MOST])
