"""Limit the changes that a user may see at all (``BEMI_ADMIN_SCOPE``)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import cast

from django.db.models import Q
from django.http import HttpRequest

from bemi_django import conf
from bemi_django.log.change import ChangeQuerySet
from bemi_django.log.conditions import in_places
from bemi_django.log.places import Place


class Scope:
    """The part of the log that a user may see.

    Args:
        request: The request of the user.
        viewable: Returns the tables of the models that the user may view.
    """

    def __init__(self, request: HttpRequest, viewable: Callable[[], list[Place]]) -> None:
        self._request = request
        self._viewable = viewable

    def limited(self, changes: ChangeQuerySet) -> ChangeQuerySet:
        """Return those of the changes that belong to it."""
        scope = conf.admin_scope()
        if callable(scope):
            return cast(ChangeQuerySet, scope(self._request, changes))
        # Tables without a model have no permissions: superusers see them.
        is_limited = scope is not None and not getattr(self._request.user, "is_superuser", False)
        return changes.filter(self._of_viewable_models) if is_limited else changes

    @cached_property
    def _of_viewable_models(self) -> Q:
        return in_places(self._viewable())
