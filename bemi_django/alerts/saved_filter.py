"""The filter of a rule, which is one of the list in the admin: it finds what its owner would find there."""

from __future__ import annotations

import logging
from contextlib import suppress
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.handlers.wsgi import WSGIRequest
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, QueryDict
from django.urls import NoReverseMatch, Resolver404, get_script_prefix, resolve, reverse
from django.utils.translation import gettext as _

from bemi_django.alerts import configured
from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import AlertRule

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite

    from bemi_django.admin.search.filter_form import FilterForm

logger = logging.getLogger(__name__)


def parameters_of(text: str) -> QueryDict:
    """Return the parameters of a filter: those of the list's address that say what is shown, not how."""
    from bemi_django.admin.search.filter_form import FilterForm

    given, kept = QueryDict(text.strip().rpartition("?")[2]), QueryDict(mutable=True)
    for name in FilterForm.base_fields:
        values = [value for value in given.getlist(name) if value]
        if values:
            kept.setlist(name, values)
    return kept


def narrowed(changes: ChangeQuerySet, rule: AlertRule) -> ChangeQuerySet:
    """Return those of the changes that the filter of a rule finds for its owner, none if it finds nothing."""
    try:
        form, problem = _form(rule)
        if form is None:
            logger.error("the alert rule %s finds nothing: %s", rule.pk, problem)
            return changes.none()
        found: Any = changes & form.changes().changes.using(changes.db)
        return found.asc()  # type: ignore[no-any-return]
    except (InterfaceError, OperationalError):
        # It may pass: the changes wait for it.
        raise
    # A function of the project (BEMI_ADMIN_SCOPE) may fail in any way, and other rules have to go on.
    except Exception as error:
        logger.error("the alert rule %s finds nothing: %s", rule.pk, type(error).__name__)
        return changes.none()


def problem_of(rule: AlertRule) -> str:
    """Return why the filter of a rule finds nothing, or an empty string."""
    try:
        return _form(rule)[1]
    except (InterfaceError, OperationalError):
        raise
    # As for a worker: a setting or a function of the project.
    except Exception as error:
        return _("the filter fails: %(error)s") % {"error": type(error).__name__}


def _form(rule: AlertRule) -> tuple[FilterForm | None, str]:
    from bemi_django.admin.access.audit_site import audit_site
    from bemi_django.admin.access.viewer import Viewer
    from bemi_django.admin.search.filter_form import FilterForm

    users: Any = get_user_model()
    owner = users._default_manager.filter(pk=rule.owner, is_active=True).first()
    if owner is None:
        return None, _("its owner is gone")
    site = audit_site()
    request = _request_of(owner, site)
    viewer = Viewer(request, site)
    if not site.has_permission(request) or not viewer.has("view"):
        return None, _("its owner may not see the log any more")
    form = FilterForm(parameters_of(rule.filter), viewer)
    return (form, "") if form.is_valid() else (None, _("the filter is not valid"))


def _request_of(owner: Any, site: AdminSite) -> HttpRequest:
    """Return a request for the list as its owner would send it, for code of the project that asks for one."""
    address, prefix = urlsplit(configured.site_url()), get_script_prefix()
    path = prefix
    with suppress(NoReverseMatch):
        path = reverse("admin:bemi_django_change_changelist", current_app=site.name)
    request: Any = WSGIRequest(
        {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": prefix.rstrip("/"),
            "PATH_INFO": f"/{path.removeprefix(prefix)}",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "443" if address.scheme == "https" else "80",
            "wsgi.url_scheme": address.scheme or "http",
            "wsgi.input": BytesIO(),
            **({"HTTP_HOST": address.netloc} if address.netloc else {}),
        }
    )
    request.user, request.current_app = owner, site.name
    request.session = import_module(settings.SESSION_ENGINE).SessionStore()
    with suppress(Resolver404):
        request.resolver_match = resolve(request.path_info)
    return request  # type: ignore[no-any-return]
