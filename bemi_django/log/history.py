"""``History``: the changes of a model as an attribute of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from django.db import models

if TYPE_CHECKING:
    from bemi_django.log.change import ChangeQuerySet


class History:
    """Give a model its changes: ``Todo.history`` for the table, ``todo.history`` for one object.

    Assign it in the class body: ``history = History()``. It is not a field and needs no migration.

    Args:
        renamed: Columns that had another name, ``{old: new}``: ``History(renamed={"title": "task"})``.
    """

    def __init__(self, renamed: Mapping[str, str] | None = None) -> None:
        self.renamed = dict(renamed or {})

    def __set_name__(self, owner: type, name: str) -> None:
        self._declare(owner)

    def contribute_to_class(self, model: type[models.Model], name: str) -> None:
        """Set the attribute of the model; Django calls it when the class is made."""
        setattr(model, name, self)
        self._declare(model)

    def __get__(self, instance: models.Model | None, owner: type[models.Model]) -> ChangeQuerySet:
        from bemi_django.log.change import Change

        return Change.objects.for_model(owner) if instance is None else Change.objects.for_object(instance)

    def _declare(self, owner: type) -> None:
        if self.renamed:
            owner.bemi_renamed_columns = self.renamed  # type: ignore[attr-defined]
