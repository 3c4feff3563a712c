"""``StepInstances``: the objects that the steps of a plan are about, read many at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import Q

from bemi_django.admin.access.logged_models import LoggedModel
from bemi_django.admin.access.rows.live_rows import live_rows
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.search.list_order import ids_of_transaction
from bemi_django.log.belongings import field_of_table
from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change
from bemi_django.revert import Step
from bemi_django.wire.ids import sequence_in

#: The number of changes whose objects are read at once; a page reverts no more.
_MOST = 2000
#: The number of transactions whose other objects are read at once: each is a part of a condition.
_MOST_TRANSACTIONS = 100
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
        #: The changes of the transactions of those that are reverted, if they are not read yet.
        self._others: ChangeQuerySet | None = None
        self._known: dict[tuple[LoggedModel, str], models.Model | None] = {}
        #: A new row of each object with a many-to-many field, by its key.
        self._added: dict[tuple[LoggedModel, str], models.Model] = {}

    def of(self, logged: LoggedModel, key: str | None) -> models.Model | None:
        """Return the object of a row, or None if it does not exist."""
        if key is None:
            return None
        if self._changes is not None and (logged, key) not in self._known:
            self._learn_selected(self._changes)
        if self._others is not None and (logged, key) not in self._known:
            others, self._others = self._others, None
            self.learn(others.values_list(*_NAMES)[:_MOST])
        if (logged, key) not in self._known:
            self._known[logged, key] = _existing(logged, [key], self._viewer).get(key)
        return self._known[logged, key]

    def added(self, logged: LoggedModel, step: Step) -> models.Model | None:
        """Return the row of a many-to-many field that a step adds, or None if it adds none."""
        field = field_of_table(logged.model) if step.action == "insert" else None
        if field is None:
            return None
        end: Any = logged.model._meta.get_field(field.m2m_field_name())
        name = logged, str(step.values.get(end.column))
        if name not in self._added:
            row = logged.model(**{end.attname: step.values.get(end.column)})
            row._state.db = logged.alias
            self._added[name] = row
        return self._added[name]

    def learn(self, rows: Iterable[tuple[str, str, str | None]]) -> None:
        """Read the objects of several rows at once, given by schema, table and key."""
        wanted: dict[LoggedModel, set[str]] = {}
        for schema, table, key in rows:
            logged = self._viewer.logged_models.model_at(self._database, schema, table)
            if logged is not None and key is not None and (logged, key) not in self._known:
                wanted.setdefault(logged, set()).add(key)
        for logged, keys in wanted.items():
            found = _existing(logged, keys, self._viewer)
            # None at all can mean that one of the keys is refused: then each is asked for alone.
            self._known |= {(logged, key): found.get(key) for key in keys if found}

    def _learn_selected(self, changes: ChangeQuerySet) -> None:
        rows = list(changes.values_list(*_NAMES, "id")[:_MOST])
        self._changes = None
        self._others = _same_transactions(self._database, changes.db, [row[3] for row in rows])
        self.learn(row[:3] for row in rows)


def _existing(logged: LoggedModel, keys: Iterable[str], viewer: Viewer) -> dict[str, models.Model]:
    found = live_rows(logged, keys, viewer)
    return {**found.unread, **found.read}


def _same_transactions(database: str, log: str, ids: Iterable[UUID]) -> ChangeQuerySet | None:
    """Return the changes of the transactions of some, or None if these are none or too many."""
    sequences = {sequence_in(identifier.bytes) for identifier in ids}
    if not 0 < len(sequences) <= _MOST_TRANSACTIONS:
        return None
    same = Q()
    for sequence in sequences:
        same |= Q(id__range=ids_of_transaction(sequence))
    return Change.objects.using(log).filter(same, database=database).order_by()
