"""The page of the saved views: they are saved, renamed, shared, chosen as the default and deleted."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponseRedirect
from django.utils.translation import gettext as _

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actors import user_names
from bemi_django.admin.saved_views.alert_address import alert_address
from bemi_django.admin.saved_views.saved_view_form import NewViewForm, SavedViewForm
from bemi_django.admin.saved_views.view_query import opened, period_of
from bemi_django.admin.saved_views.visible_views import VisibleViews
from bemi_django.admin.search.chips import Chip, chips
from bemi_django.admin.search.filter_form import FilterForm
from bemi_django.models import SavedView


class ListedView(NamedTuple):
    """A view on the page.

    Attributes:
        view: The view.
        url: The list that it shows.
        filters: Its filters, for people.
        period: What its days are called; empty if it has none, or if they are among the filters.
        is_rows: Whether it shows rows and not actions.
        owner: Who shares it; empty for the user's own views.
        is_default: Whether the user's list begins with it.
        form: The form that changes it; only the default can be chosen where ``may_edit`` is False.
        may_edit: Whether the user may change it.
        may_delete: Whether the user may delete it.
        alert_url: Where a rule is made that tells of changes like these, or None.
    """

    view: SavedView
    url: str
    filters: list[Chip]
    period: str
    is_rows: bool
    owner: str
    is_default: bool
    form: SavedViewForm
    may_edit: bool
    may_delete: bool
    alert_url: str | None


def answer(viewer: Viewer, key: int | None = None) -> HttpResponseRedirect | dict[str, Any]:
    """Return the context of the page; do what a form asks for, and lead to where one sees it.

    Raises:
        Http404: If there is no view with the key that the user may see.
        PermissionDenied: If the user may not do that with it.
    """
    views, request = VisibleViews(viewer), viewer.request
    if request.method == "POST" and not views.may_save:
        raise PermissionDenied
    view = views.find(key) if key is not None else None
    if key is not None and (view is None or request.method != "POST"):
        raise Http404
    if request.method != "POST":
        return _context(views)
    if view is None:
        new = NewViewForm(request.POST, views)
        return _save(new) if new.is_valid() else _context(views, new=new)
    if "delete" in request.POST:
        return _delete(views, view)
    form = SavedViewForm(request.POST, views, view)
    if not views.may_edit(view):
        # What others share can be chosen as the default, as it is.
        views.set_default(view, is_default="is_default" in request.POST)
    elif form.is_valid():
        _update(form, view)
    else:
        return _context(views, failed=form)
    messages.success(request, _("The view “%(name)s” was saved.") % {"name": view.name})
    return HttpResponseRedirect(viewer.url("saved_views"))


def _save(form: NewViewForm) -> HttpResponseRedirect:
    views, given = form.views, form.cleaned_data
    known = next((view for view in views.own if view.name == given["name"]), None)
    # Other filters are no reason not to share it any more.
    stays_shared = known is not None and known.is_shared and views.may_share
    is_shared = given.get("is_shared", False) or stays_shared
    view = views.save(given["name"], given["query"], is_shared=is_shared)
    if given["is_default"]:
        views.set_default(view, is_default=True)
    text = _("The view “%(name)s” has these filters now.") if known else _("The view “%(name)s” was saved.")
    messages.success(views.viewer.request, text % {"name": view.name})
    return HttpResponseRedirect(views.address(view))


def _update(form: SavedViewForm, view: SavedView) -> None:
    given = form.cleaned_data
    form.views.update(view, given["name"], is_shared=given.get("is_shared", False))
    form.views.set_default(view, is_default=given["is_default"])


def _delete(views: VisibleViews, view: SavedView) -> HttpResponseRedirect:
    if not views.may_delete(view):
        raise PermissionDenied
    view.delete()
    messages.success(views.viewer.request, _("The view “%(name)s” was deleted.") % {"name": view.name})
    return HttpResponseRedirect(views.viewer.url("saved_views"))


def _context(
    views: VisibleViews, new: NewViewForm | None = None, failed: SavedViewForm | None = None
) -> dict[str, Any]:
    names = user_names({view.owner for view in views.views}, views.viewer)
    return {
        "new": new,
        "own_names": [view.name for view in views.own],
        "saved_views": [_listed(views, view, names, failed) for view in views.views],
    }


def _listed(
    views: VisibleViews, view: SavedView, names: dict[str, str], failed: SavedViewForm | None
) -> ListedView:
    query, period = opened(view.query), period_of(view.query)
    for name in ("since", "until") if period else ():
        del query[name]
    is_failed = failed is not None and failed.view is not None and failed.view.pk == view.pk
    return ListedView(
        view,
        views.address(view),
        chips(FilterForm(query, views.viewer, is_checked=False), query),
        period,
        query.get("view") == "rows",
        "" if views.is_own(view) else names.get(view.owner, _("user %s") % view.owner),
        views.is_default(view),
        failed if is_failed and failed is not None else SavedViewForm(None, views, view),
        views.may_edit(view),
        views.may_delete(view),
        alert_address(views.viewer, view.query, view.name),
    )
