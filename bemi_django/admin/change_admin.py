"""The URLs, permissions and pages of the audit trail in the admin."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.transaction import non_atomic_requests
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from bemi_django.admin.access.chosen_log import in_chosen_log
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.audit_page import audit_page, name_of, unreachable_page
from bemi_django.admin.display.change_rows import BUILT_IN
from bemi_django.admin.display.list_columns import ChangeAdminChecks, with_columns, with_own_columns
from bemi_django.admin.pages import (
    archived_changes,
    change_detail,
    change_list,
    deleted_objects,
    export,
)
from bemi_django.admin.pages.activity import activity_csv, activity_page
from bemi_django.admin.pages.health import health_page
from bemi_django.admin.pages.history import field_history, timeline
from bemi_django.admin.pages.requests import request_page
from bemi_django.admin.pages.reverts import revert_plan
from bemi_django.admin.pages.travel import site_moment
from bemi_django.admin.saved_views import saved_views_page
from bemi_django.admin.saved_views.visible_views import VisibleViews
from bemi_django.admin.search.change_reader import read_changes
from bemi_django.models import Change
from bemi_django.site_past import of_the_present

if TYPE_CHECKING:
    # The class is generic in the type stubs only.
    ChangeAdminBase = admin.ModelAdmin[Change]
else:
    ChangeAdminBase = admin.ModelAdmin

View = Callable[..., HttpResponseBase]


class ChangeAdmin(ChangeAdminBase):
    """The admin of the log. It is read-only: the permission methods refuse everything but viewing.

    A subclass can choose the columns of the list of rows by ``list_display``, and add some, which the list of
    actions has, too. Their methods get a change with masks in place of what the user may not see.
    """

    list_display = tuple(cell.name for cell in BUILT_IN)
    list_display_links = None
    checks_class = ChangeAdminChecks

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: changes are not added."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Change | None = None) -> bool:
        """Return False: changes are not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Change | None = None) -> bool:
        """Return False: changes are not deleted."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Change | None = None) -> bool:
        """Return whether the user has the permission ``view_change``."""
        return Viewer(request, self.admin_site).has("view")

    def has_health_permission(self, request: HttpRequest) -> bool:
        """Return whether the user has the permission ``view_health``."""
        return bool(request.user.has_perm("bemi_django.view_health"))

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """Return what the index offers: a link also to a user who may only view the health page."""
        found = super().get_model_perms(request)
        return {**found, "view": found["view"] or self.has_health_permission(request)}

    def get_urls(self) -> list[URLPattern]:
        """Return the URLs of the pages."""
        key = "<str:app_label>/<str:model_name>"
        pages: list[tuple[str, View, str]] = [
            ("", self.changelist_view, "changelist"),
            ("activity/", self.activity_view, "activity"),
            ("health/", self.health_view, "health"),
            ("archive/", self.archive_view, "archive"),
            ("export/", self.export_view, "export"),
            ("deleted/", self.deleted_view, "deleted"),
            ("revert/", self.revert_view, "revert"),
            ("views/", self.saved_views_view, "saved_views"),
            ("views/<int:object_id>/", self.saved_views_view, "saved_view"),
            (f"timeline/{key}/<path:object_id>/", self.timeline_view, "timeline"),
            ("request/", self.request_view, "request"),
            ("transaction/<uuid:object_id>/", self.transaction_view, "transaction"),
            ("<uuid:object_id>/change/", self.change_view, "change"),
        ]
        # Who may see the site as it was need not see the log.
        down = partial(unreachable_page, self)
        views = [
            (at, in_chosen_log(self._require_view(view, name), name, down), name) for at, view, name in pages
        ]
        views.append(("travel/", of_the_present(non_atomic_requests(partial(self.travel_view))), "travel"))
        return [
            path(route, self.admin_site.admin_view(view), name=f"bemi_django_change_{name}")
            for route, view, name in views
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show the list of changes, which may begin with a saved view."""
        viewer = self._viewer(request)
        if not request.GET and (start := VisibleViews(viewer).start()) is not None:
            return HttpResponseRedirect(start)
        found = change_list.template_context(request, viewer)
        columns = list(self.get_list_display(request))
        for name, add in (("rows", with_columns), ("actions", with_own_columns)):
            if name in found:
                found[name] = list(add(found[name], self, columns, viewer))
        return self._page(request, "change_list", _("Changes"), found)

    def change_view(
        self, request: HttpRequest, object_id: Any, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show a change."""
        viewer = self._viewer(request)
        found = read_changes(viewer.changes().filter(id=object_id))
        if not found:
            raise Http404
        context = change_detail.template_context(found[0], viewer)
        return self._page(request, "change", pgettext("noun", "Change"), context)

    def request_view(self, request: HttpRequest) -> HttpResponse:
        """Show what a request did."""
        return self._page(request, "request", _("Request"), request_page.of_request(self._viewer(request)))

    def transaction_view(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Show what a transaction did."""
        found = request_page.of_transaction(object_id, self._viewer(request))
        return self._page(request, "request", _("Transaction"), found)

    def activity_view(self, request: HttpRequest) -> HttpResponse:
        """Show changes over time, or return their numbers as a file, or say what is wrong (400)."""
        viewer = self._viewer(request)
        is_file = request.GET.get("format") == "csv"
        if is_file and not viewer.has("export"):
            raise PermissionDenied
        found = activity_page.template_context(viewer)
        is_refused = bool(found["asked"].error)
        if is_file and not is_refused:
            return activity_csv.response(viewer, found)
        page = self._page(request, "activity", _("Activity"), found)
        if is_file:
            page.status_code = 400
        return page

    def health_view(self, request: HttpRequest) -> HttpResponse:
        """Show the state of the worker and the tables."""
        return self._page(request, "health", _("Health"), health_page.template_context(self._viewer(request)))

    def archive_view(self, request: HttpRequest) -> HttpResponse:
        """Show changes that were archived."""
        context = archived_changes.template_context(self._viewer(request))
        return self._page(request, "archive", _("Archived changes"), context)

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Return the filtered list as a file, or the list with what is wrong about its filters (400)."""
        viewer = self._viewer(request)
        if not viewer.has("export"):
            raise PermissionDenied
        try:
            return export.response(viewer)
        except export.ExportRefused as refusal:
            found = change_list.template_context(request, viewer)
            found |= {"refusal": str(refusal), "here": viewer.url("changelist"), "raw_query": None}
        page = self._page(request, "change_list", _("Changes"), found)
        page.status_code = 400
        return page

    def deleted_view(self, request: HttpRequest) -> HttpResponse:
        """Show deleted objects."""
        return self._page(
            request, "deleted", _("Deleted objects"), deleted_objects.template_context(self._viewer(request))
        )

    def revert_view(self, request: HttpRequest) -> HttpResponse:
        """Show the plan of a revert, or apply it."""
        viewer = self._viewer(request)
        found = (
            revert_plan.apply(viewer) if request.method == "POST" else revert_plan.template_context(viewer)
        )
        if isinstance(found, HttpResponse):
            return found
        return self._page(request, "revert", found["selection"].label, found)

    def saved_views_view(self, request: HttpRequest, object_id: int | None = None) -> HttpResponse:
        """Show the saved views, or do what is wanted with one."""
        found = saved_views_page.answer(self._viewer(request), object_id)
        if isinstance(found, HttpResponse):
            return found
        return self._page(request, "saved_views", _("Saved views"), found)

    def travel_view(self, request: HttpRequest) -> HttpResponse:
        """Show the form for the moment as of which the whole site is shown, or go there."""
        found = site_moment.answer(self._viewer(request))
        if isinstance(found, HttpResponse):
            return found
        return self._page(request, "travel", _("Time travel"), found)

    def timeline_view(
        self, request: HttpRequest, app_label: str, model_name: str, object_id: str
    ) -> HttpResponse:
        """Show the history of an object, or of one of its fields."""
        if request.GET.get("field"):
            found = field_history.template_context(self._viewer(request), app_label, model_name, object_id)
            return self._page(request, "field_history", _("History of a field"), found)
        found = timeline.template_context(self._viewer(request), app_label, model_name, object_id)
        return self._page(request, "timeline", _("History"), found)

    def _viewer(self, request: HttpRequest) -> Viewer:
        viewer: Viewer = getattr(request, "bemi_viewer", None) or Viewer(request, self.admin_site)
        return viewer

    def _require_view(self, view: View, name: str) -> View:
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not (self.has_health_permission if name == "health" else self.has_view_permission)(request):
                if name == "changelist" and self.has_health_permission(request):
                    return HttpResponseRedirect(Viewer(request, self.admin_site).url("health"))
                raise PermissionDenied
            request.bemi_viewer = viewer = Viewer(request, self.admin_site)  # type: ignore[attr-defined]
            response = view(request, *args, **kwargs)
            if isinstance(response, TemplateResponse):
                # Values are looked up until the template has shown them.
                page = name_of(response)
                response.add_post_render_callback(lambda rendered: viewer.unmasked.note(page))
            elif response.status_code == HTTPStatus.OK:
                viewer.unmasked.note(name)
            return response

        return of_the_present(checked)

    def _page(self, request: HttpRequest, name: str, title: str, found: dict[str, Any]) -> HttpResponse:
        return audit_page(self, self._viewer(request), name, title, found)
