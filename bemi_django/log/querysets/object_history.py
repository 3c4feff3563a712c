"""``ObjectHistory``: what the whole history of an object has that a part of it has not."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import models

from bemi_django import destinations
from bemi_django.log import object_changes
from bemi_django.log.places import Place
from bemi_django.log.querysets.changes_everywhere import ChangesEverywhere

if TYPE_CHECKING:
    from bemi_django.log.querysets.change_queryset import ChangeQuerySet


class ObjectHistory(NamedTuple):
    """The history of an object, and how it is told from a part of it.

    Attributes:
        asked: The changes that it is chosen from.
        instance: The object.
        where: The conditions that choose it.
        alias: The destination that it is asked of, or None.
    """

    asked: ChangeQuerySet
    instance: models.Model
    where: Any
    alias: str | None

    def of_log(self, alias: str | None) -> ObjectHistory:
        """Return the history that one log has, which is asked for the members, too.

        Args:
            alias: The destination that was given to ``using()``.
        """
        return self._replace(asked=self.asked.using(alias), alias=alias)

    def is_whole(self, changes: ChangeQuerySet) -> bool:
        """Return whether changes, which were chosen from this history, are all of it, in whatever order."""
        query = changes.query
        is_part = query.is_sliced or query.combinator or query.distinct_fields or query.where != self.where
        return not is_part and chosen_alias(changes) == self.alias

    def member_places(self) -> list[Place]:
        """Return the tables of the object's many-to-many fields."""
        return object_changes.member_places(self.instance)

    def of_members(self) -> list[ChangeQuerySet]:
        """Return the changes of the rows of the object's many-to-many fields.

        They are those of each destination that has some, unless one was chosen with ``using()``.
        """
        condition = object_changes.of_members(self.instance)
        if condition is None:
            return []
        if chosen_alias(self.asked) is not None or len(destinations.aliases()) == 1:
            return [self.asked.filter(condition)]
        found = {alias for place in self.member_places() for alias in destinations.of_table(*place)}
        return [self.asked.using(alias).filter(condition) for alias in sorted(found)]

    @staticmethod
    def together(
        changes: ChangeQuerySet, others: Sequence[ChangeQuerySet]
    ) -> ChangeQuerySet | ChangesEverywhere:
        """Return changes and others, of the same or of other destinations."""
        here = [other for other in others if other.db == changes.db]
        elsewhere = [other for other in others if other.db != changes.db]
        # Django combines only what is asked of the same alias.
        found = reduce(or_, [other.using(chosen_alias(changes)) for other in here], changes)
        return ChangesEverywhere([found, *elsewhere]) if elsewhere else found


def chosen_alias(changes: models.QuerySet[Any]) -> str | None:
    """Return the alias that was given to ``using()``, or None."""
    found: str | None = changes.__dict__["_db"]
    return found
