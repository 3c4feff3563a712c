"""Choose the moment as of which the whole site is shown, or come back to the present."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from bemi_django.admin.access.own_events import note
from bemi_django.admin.access.viewer import Viewer, aware
from bemi_django.admin.pages.history.moment_form import MomentField
from bemi_django.exceptions import BemiError
from bemi_django.models import Change
from bemi_django.site_past.chosen_moment import ChosenMoment, chosen_in, forget
from bemi_django.site_past.departure import databases_of_present, is_installed, may_travel, site_as_of
from bemi_django.site_past.reasons import reason_of


class SiteMomentForm(forms.Form):
    """A moment that has passed."""

    at = MomentField(label=gettext_lazy("Show the site as of"))

    def clean_at(self) -> Any:
        """Refuse what is yet to come."""
        moment = aware(self.cleaned_data["at"])
        if moment > datetime.now(timezone.utc):
            raise ValidationError(_("This moment is in the future."))
        return moment


def answer(viewer: Viewer) -> HttpResponse | dict[str, Any]:
    """Return where a moment that was posted leads, or the context of the page with the form.

    Raises:
        PermissionDenied: The user may not see the site as it was.
    """
    request = viewer.request
    if request.method == "POST" and "back" in request.POST:
        return _back(request, viewer)
    if not may_travel(request.user):
        raise PermissionDenied
    if request.method != "POST":
        return _template_context(request, SiteMomentForm(initial=_initial(request)))
    if "before" in request.POST:
        return _before(request, viewer)
    form = SiteMomentForm(request.POST)
    if form.is_valid():
        chosen = ChosenMoment(str(request.user.pk), viewer.site.name, form.cleaned_data["at"])
        try:
            return _go(request, chosen, _next(request) or _index(viewer))
        except BemiError as error:
            form.add_error("at", reason_of(error, request.user))
    form.fields["at"].widget.attrs["aria-invalid"] = "true"
    return _template_context(request, form)


def _before(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Go to the moment just before a change, and to its object."""
    try:
        change = viewer.changes().get(pk=UUID(request.POST["before"])) if viewer.has("view") else None
    except (ValueError, Change.DoesNotExist):
        change = None
    if change is None:
        raise Http404
    chosen = ChosenMoment(str(request.user.pk), viewer.site.name, aware(change.committed_at), change.pk)
    try:
        return _go(request, chosen, _object_url(change, viewer) or _index(viewer))
    except BemiError as error:
        messages.warning(request, reason_of(error, request.user))
        return HttpResponseRedirect(viewer.url("change", change.pk))


def _object_url(change: Change, viewer: Viewer) -> str | None:
    """Return the page that shows the object just before its change: the list if there was none yet."""
    logged = viewer.logged_models.model_of(change)
    if logged is None:
        return None
    key = change.previous_primary_key or change.primary_key
    if change.before and key is not None and not viewer.masks.hide_key(change):
        return viewer.model_url(logged.model, "change", quote(key))
    return viewer.model_url(logged.model, "changelist")


def _go(request: HttpRequest, chosen: ChosenMoment, address: str) -> HttpResponse:
    """Lead to an address at a moment. Raises BemiError if the site is not known as of then."""
    with site_as_of(chosen):
        pass
    note(
        "time_travel",
        moments=[chosen.time.isoformat()],
        site=True,
        before=chosen.change and str(chosen.change),
    )
    response = HttpResponseRedirect(address)
    chosen.keep(response)
    return response


def _back(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    response = HttpResponseRedirect(_next(request) or _index(viewer))
    forget(response)
    return response


def _next(request: HttpRequest) -> str | None:
    address: str = request.POST.get("next", "")
    is_here = url_has_allowed_host_and_scheme(
        address, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return address if is_here and address else None


def _index(viewer: Viewer) -> str:
    return reverse("admin:index", current_app=viewer.site.name)


def _initial(request: HttpRequest) -> dict[str, Any]:
    chosen = chosen_in(request)
    return {"at": chosen.time} if chosen is not None else {}


def _template_context(request: HttpRequest, form: SiteMomentForm) -> dict[str, Any]:
    return {"form": form, "is_installed": is_installed(), "databases": databases_of_present()}
