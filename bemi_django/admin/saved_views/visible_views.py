"""The saved views that a user sees, and what the user may do with each."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.models import Q
from django.http import QueryDict
from django.utils.translation import gettext as _

from bemi_django import destinations
from bemi_django.admin.access.kept_tables import SAVED_VIEWS, may_keep
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.saved_views.view_query import opened, query_of
from bemi_django.admin.search.filters.list_address import WHOLE, list_address
from bemi_django.models import SavedView
from bemi_django.schema import tenancy


class ViewLink(NamedTuple):
    """A link above the list; ``is_shared`` tells views of others."""

    label: str
    url: str
    is_chosen: bool
    is_shared: bool


class VisibleViews:
    """The views that a viewer has saved, and those that others share."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.owner = str(viewer.request.user.pk)
        self.tenant = _tenant()
        self.may_share = bool(viewer.request.user.has_perm("bemi_django.share_savedview"))

    @cached_property
    def may_save(self) -> bool:
        """Whether the database lets the pages keep views; if not, there are none."""
        return may_keep(SAVED_VIEWS)

    @cached_property
    def views(self) -> list[SavedView]:
        """All of them, the viewer's own first, by name."""
        if not self.may_save:
            return []
        seen = self._all().filter(Q(owner=self.owner) | Q(is_shared=True))
        return sorted(seen, key=lambda view: (not self.is_own(view), view.name.casefold(), view.pk))

    @property
    def own(self) -> list[SavedView]:
        """Those that the viewer has saved."""
        return [view for view in self.views if self.is_own(view)]

    def find(self, key: int) -> SavedView | None:
        """Return the view with a key, or None if there is none that the viewer may see."""
        return next((view for view in self.views if view.pk == key), None)

    def is_own(self, view: SavedView) -> bool:
        """Tell whether the viewer has saved a view."""
        return view.owner == self.owner

    def is_default(self, view: SavedView) -> bool:
        """Tell whether the viewer's list begins with a view."""
        return self.owner in view.default_of

    def may_edit(self, view: SavedView) -> bool:
        """Tell whether the viewer may rename or share a view, or stop sharing it."""
        return self.may_share if view.is_shared else self.is_own(view)

    def may_delete(self, view: SavedView) -> bool:
        """Tell whether the viewer may delete a view."""
        return self.is_own(view) or self.may_edit(view)

    def is_taken(self, name: str, view: SavedView) -> bool:
        """Tell whether the owner of a view has another one with a name."""
        others = self._all().filter(owner=view.owner, name=name).exclude(pk=view.pk)
        return bool(others.exists())

    def save(self, name: str, query: str, *, is_shared: bool) -> SavedView:
        """Save a view of the viewer's own; one of the same name gets these filters."""
        found: SavedView
        found, _is_new = self._all().update_or_create(
            tenant=self.tenant,
            owner=self.owner,
            name=name,
            defaults={"query": query, "is_shared": is_shared},
        )
        self._forget()
        return found

    def update(self, view: SavedView, name: str, *, is_shared: bool) -> None:
        """Rename a view, and share it or not. The list of others does not begin with it any more if not."""
        view.name, view.is_shared = name, is_shared
        if not is_shared:
            view.default_of = [key for key in view.default_of if key == view.owner]
        view.save(using=destinations.first(), update_fields=["name", "is_shared", "default_of", "updated_at"])
        self._forget()

    def set_default(self, view: SavedView, *, is_default: bool) -> None:
        """Let the viewer's list begin with a view, and with no other, or not with this one any more."""
        with transaction.atomic(destinations.first()):
            chosen = Q(default_of__contains=[self.owner])
            for other in self._all().select_for_update().filter(chosen | Q(pk=view.pk)).order_by("pk"):
                others = [key for key in other.default_of if key != self.owner]
                mine = [self.owner] if is_default and other.pk == view.pk else []
                if is_default or other.pk == view.pk:
                    other.default_of = [*others, *mine]
                    other.save(using=destinations.first(), update_fields=["default_of"])
        self._forget()

    def address(self, view: SavedView) -> str:
        """Return the address of the list that a view shows."""
        return f"{self.viewer.url('changelist')}{list_address(opened(view.query))}"

    def start(self) -> str | None:
        """Return the address with which the viewer's list begins, or None if it shows all changes."""
        return next((self.address(view) for view in self.views if self.is_default(view)), None)

    def chosen(self, parameters: QueryDict) -> SavedView | None:
        """Return the view that a list with some parameters shows, or None."""
        asked = dict(query_of(parameters).lists())
        return next((view for view in self.views if dict(opened(view.query).lists()) == asked), None)

    def links(self, parameters: QueryDict) -> list[ViewLink]:
        """Return links to all changes and to the views; none if there are no views."""
        if not self.views:
            return []
        chosen, whole = self.chosen(parameters), f"{self.viewer.url('changelist')}{WHOLE}"
        found = [ViewLink(_("All changes"), whole, not query_of(parameters), is_shared=False)]
        for view in self.views:
            is_chosen = chosen is not None and view.pk == chosen.pk
            found.append(ViewLink(view.name, self.address(view), is_chosen, not self.is_own(view)))
        return found

    def _all(self) -> Any:
        return SavedView.objects.using(destinations.first()).filter(tenant=self.tenant)

    def _forget(self) -> None:
        self.__dict__.pop("views", None)


def _tenant() -> str:
    schemas = (tenancy.tenant_schema(alias) for alias in connections)
    return " ".join(schema for schema in schemas if schema is not None)
