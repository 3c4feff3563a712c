"""Who asks, and whether they may."""

from __future__ import annotations

from django.http import HttpRequest
from django.urls import NoReverseMatch
from django.utils.translation import gettext as _

from bemi_django.admin.access.audit_site import audit_site
from bemi_django.admin.access.viewer import Viewer
from bemi_django.api.problems import ApiProblem
from bemi_django.models import Change


class ApiViewer(Viewer):
    """A viewer whose site may have no pages of the audit trail."""

    def url(self, page: str, *args: object) -> str:
        """Return the URL of a page of the audit trail, or an empty string if there is none."""
        try:
            return super().url(page, *args)
        except NoReverseMatch:
            return ""


def viewer_of(request: HttpRequest) -> ApiViewer:
    """Return the viewer of a request.

    Raises:
        ApiProblem: The user is not logged in (401), or may not view the audit trail in the admin (403).
    """
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        raise ApiProblem(401, _("Nobody is logged in. Send the session cookie of a user of the admin."))
    site = audit_site()
    viewer = ApiViewer(request, site)
    if not site.has_permission(request) or not viewer.may("view", Change):
        raise ApiProblem(
            403,
            _("You may not view the audit trail. Ask for staff status and the permission %s.")
            % "bemi_django.view_change",
        )
    return viewer
