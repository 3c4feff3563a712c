"""What all pages of the audit trail have: tabs, breadcrumbs, the time zone, the switch to raw values."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import django
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from bemi_django import destinations
from bemi_django.admin.access.chosen_log import choices
from bemi_django.admin.access.viewer import Viewer
from bemi_django.site_past.departure import may_travel

#: Pages with values of rows.
_WITH_VALUES = {"change_list", "change", "deleted", "field_history", "request", "revert", "timeline"}


def audit_page(
    model_admin: Any, viewer: Viewer, name: str, title: str, found: dict[str, Any]
) -> TemplateResponse:
    """Return a page.

    Args:
        model_admin: The ``ChangeAdmin`` of the site.
        viewer: Who sees the page.
        name: The name of its template.
        title: What it is called.
        found: The context of its template; ``crumbs``, ``heading`` and ``list_url`` are for the frame. With
            ``of_model``, a template of this model, in a folder ``<app>/<model>/``, is taken first.
    """
    request, site = viewer.request, model_admin.admin_site
    has_view = model_admin.has_view_permission(request)
    health_url = viewer.url("health") if model_admin.has_health_permission(request) else ""
    tabs = [
        ("change_list", _("Changes"), "changelist", has_view),
        ("activity", _("Activity"), "activity", has_view),
        ("deleted", _("Deleted objects"), "deleted", has_view),
        ("travel", _("Time travel"), "travel", may_travel(request.user)),
        ("health", _("Health"), "health", health_url),
    ]
    # Templates of the admin and of themes react to "object", "change", "user" and "original".
    crumbs = [
        (_("Home"), reverse("admin:index", current_app=site.name)),
        (model_admin.opts.app_config.verbose_name, found.pop("list_url", None) or viewer.url("changelist")),
        *found.pop("crumbs", [(found.get("heading", title), None)]),
    ]
    context = {
        **site.each_context(request),
        "opts": model_admin.opts,
        "title": title,
        # In the title of the window only: the page has a heading of its own.
        "subtitle": found.get("heading"),
        "crumbs": crumbs,
        # Django 6.1 made the breadcrumbs of the admin a list.
        "has_crumb_list": django.VERSION >= (6, 1),
        "time_zone": timezone.get_current_timezone_name(),
        **_raw_switch(request, name),
        "logs": choices(request),
        "health_url": health_url,
        "are_all_logs": destinations.are_all_meant(),
        "tabs": [(label, viewer.url(page), key == name) for key, label, page, shown in tabs if shown],
        **found,
    }
    request.current_app = site.name
    model = found.get("of_model")
    folders = [f"{model._meta.app_label}/{model._meta.model_name}/", ""] if model else [""]
    names = [f"admin/bemi_django/{folder}{name}.html" for folder in folders]
    return TemplateResponse(request, names, context)


def unreachable_page(model_admin: Any, request: HttpRequest, alias: str) -> TemplateResponse:
    """Return the page that says that a log cannot be read, where there are several of them.

    Args:
        model_admin: The ``ChangeAdmin`` of the site.
        request: The request.
        alias: The log.
    """
    viewer = Viewer(request, model_admin.admin_site)
    page = audit_page(model_admin, viewer, "unreachable", _("Log not reachable"), {"unreachable": alias})
    page.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return page


def name_of(page: TemplateResponse) -> str:
    """Return the name of a page's template."""
    names: Any = page.template_name
    return str(names[-1]).rpartition("/")[2].removesuffix(".html")


def _raw_switch(request: HttpRequest, page: str) -> dict[str, Any]:
    """Return the link between values as people know them and as the log has them."""
    query = request.GET.copy()
    is_raw = bool(query.pop("raw", None))
    if not is_raw:
        query["raw"] = "1"
    return {"raw_query": f"?{query.urlencode()}", "is_raw": is_raw} if page in _WITH_VALUES else {}
