"""``Todo.history`` and ``todo.history`` for those who prefer it to ``Change.objects``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from django.db import models

if TYPE_CHECKING:
    from bemi_django.log.querysets import ChangeQuerySet


class History:
    """The changes of a model, and of an instance; it is no field, and needs no migration.

    ``history = History()`` in the class, then ``Todo.history.deleted()`` and ``todo.history.updated()``.
    ``renamed`` says which columns had another name: ``History(renamed={"title": "task"})``.
    """

    def __init__(self, renamed: Mapping[str, str] | None = None) -> None:
        self.renamed = dict(renamed or {})

    def __set_name__(self, owner: type, name: str) -> None:
        self._declare(owner)

    def contribute_to_class(self, model: type[models.Model], name: str) -> None:
        setattr(model, name, self)
        self._declare(model)

    def __get__(self, instance: models.Model | None, owner: type[models.Model]) -> ChangeQuerySet:
        from bemi_django.log.change import Change

        return Change.objects.for_model(owner) if instance is None else Change.objects.for_object(instance)

    def _declare(self, owner: type) -> None:
        if self.renamed:
            owner.bemi_renamed_columns = self.renamed  # type: ignore[attr-defined]
