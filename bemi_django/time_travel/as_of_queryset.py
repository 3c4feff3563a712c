"""Run one query in the past: ``Todo.objects.as_of(moment)``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, NoReturn, TypeVar

from django.db import models

from bemi_django.exceptions import PastIsReadOnly
from bemi_django.time_travel.block import as_of
from bemi_django.time_travel.moments import PastMoment

Query = TypeVar("Query", bound="models.QuerySet[Any]")


def read_as_of(queryset: Query, moment: PastMoment, *, ignore_policies: bool = False) -> Query:
    """Return a copy of a queryset of any model that reads the past, including ``prefetch_related``.

    Errors are those of :func:`as_of`, raised on evaluation. Methods that write raise PastIsReadOnly.
    """
    past: Any = queryset.all()
    past.__class__ = _in_past(type(queryset))
    past._moment, past._ignores_policies = moment, ignore_policies
    return past  # type: ignore[no-any-return]


class AsOfQuerySet(models.QuerySet[Any]):
    """A queryset with a method ``as_of()``: ``objects = AsOfQuerySet.as_manager()``."""

    def as_of(self, moment: PastMoment, *, ignore_policies: bool = False) -> AsOfQuerySet:
        """Return a copy that reads the past; see :func:`read_as_of`."""
        return read_as_of(self, moment, ignore_policies=ignore_policies)


class _Past:
    """Mixin for a QuerySet class, to be listed first: evaluates inside as_of()."""

    _moment: PastMoment
    _ignores_policies: bool
    _db: str | None
    db: str

    def _clone(self) -> Any:
        clone = super()._clone()  # type: ignore[misc]
        clone._moment, clone._ignores_policies = self._moment, self._ignores_policies
        return clone

    def _in_past(self) -> AbstractContextManager[None]:
        # A router may choose another replica each time it is asked.
        self._db = self.db
        return as_of(self._moment, self._db, ignore_policies=self._ignores_policies)

    def _fetch_all(self) -> None:
        with self._in_past():
            super()._fetch_all()  # type: ignore[misc]

    def iterator(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        # Fetch all rows now: the transaction in the past must not stay open under other queries of the loop.
        with self._in_past():
            return iter(list(super().iterator(*args, **kwargs)))  # type: ignore[misc]

    def resolve_expression(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise PastIsReadOnly(
            "inside another query it would read the present: use 'with as_of(moment):' instead"
        )


def _reading(name: str) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self._in_past():
            return getattr(super(_Past, self), name)(*args, **kwargs)

    return method


def _refusing(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
    raise PastIsReadOnly


for _name in ("aggregate", "count", "exists", "explain"):
    setattr(_Past, _name, _reading(_name))
for _name in (
    "bulk_create",
    "bulk_update",
    "create",
    "delete",
    "get_or_create",
    "update",
    "update_or_create",
    "_raw_delete",
    "_update",
):
    setattr(_Past, _name, _refusing)


@cache
def _in_past(queryset: type[models.QuerySet[Any]]) -> type[Any]:
    return queryset if issubclass(queryset, _Past) else type(queryset.__name__, (_Past, queryset), {})
