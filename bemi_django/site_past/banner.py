"""The banner on each page of the past, and the pages that say why there is none."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.formats import get_format
from django.utils.translation import gettext as _

from bemi_django.exceptions import BemiError, LogBehind, PastIsReadOnly
from bemi_django.site_past.chosen_moment import ChosenMoment
from bemi_django.site_past.departure import databases_of_present
from bemi_django.site_past.reasons import reason_of

READING = ("GET", "HEAD", "OPTIONS")

_BODY = re.compile(rb"<body(?:\s(?:[^>\"']|\"[^\"]*\"|'[^']*')*)?>", re.IGNORECASE)
# What a browser or a proxy knows a version by. That of the past is not to be taken for that of the present.
_VALIDATORS = ("ETag", "Expires", "Last-Modified")
_HTML = ("text/html", "application/xhtml+xml")


def finished(
    request: HttpRequest, response: HttpResponseBase, chosen: ChosenMoment, *, is_present: bool
) -> HttpResponseBase:
    """Return a response with the banner, if it is a page, and with headers that keep it out of caches.

    Args:
        request: The request.
        response: What the view has answered.
        chosen: The moment.
        is_present: Whether the view shows the present all the same.
    """
    response["Cache-Control"] = "private, no-store"
    response["Bemi-As-Of"] = "now" if is_present else chosen.time.isoformat()
    patch_vary_headers(response, ("Cookie",))
    for name in _VALIDATORS:
        if name in response:
            del response[name]
    kind = response.get("Content-Type", "").partition(";")[0].strip().lower()
    if not isinstance(response, HttpResponse) or kind not in _HTML or response.get("Content-Encoding"):
        return response
    found = _BODY.search(response.content)
    if found is not None:
        banner = render_to_string(
            "bemi_django/banner.html",
            _template_context(request, chosen) | {"is_present": is_present},
            request,
        )
        end = found.end()
        response.content = b"".join(
            [response.content[:end], banner.encode(response.charset), response.content[end:]]
        )
        if "Content-Length" in response:
            response["Content-Length"] = str(len(response.content))
    return response


def refusal(request: HttpRequest, chosen: ChosenMoment, title: str, reason: str, status: int) -> HttpResponse:
    """Return a page that says why the past is not shown."""
    context = {**_template_context(request, chosen), "title": title, "reason": reason}
    content = render_to_string("bemi_django/not_shown.html", context, request)
    return HttpResponse(content, status=status)


def refusal_of_method(request: HttpRequest, chosen: ChosenMoment) -> HttpResponse:
    """Return the page for a request that may write."""
    page = refusal_of_change(request, chosen, HTTPStatus.METHOD_NOT_ALLOWED)
    page["Allow"] = ", ".join(READING)
    return page


def refusal_of_change(request: HttpRequest, chosen: ChosenMoment, status: int) -> HttpResponse:
    """Return the page that says that nothing can be done in the past."""
    reason = _("While you look at the site as it was, everything is read-only. Nothing was done.")
    return refusal(request, chosen, _("The past cannot be changed"), reason, status)


def refusal_of_stream(request: HttpRequest, chosen: ChosenMoment) -> HttpResponse:
    """Return the page that says that a view answers when the past is gone already."""
    reason = _(
        "This page is sent piece by piece, after the database has left the past. It is not shown as it was."
    )
    return refusal(request, chosen, _("Not known as of then"), reason, HTTPStatus.CONFLICT)


def refusal_of(request: HttpRequest, chosen: ChosenMoment, error: BemiError) -> HttpResponse:
    """Return the page for an error of the past: something is not known, or was to be written."""
    if isinstance(error, PastIsReadOnly):
        reason = _("This page writes to the database when it is viewed. The past is read-only.")
        return refusal(request, chosen, _("The past cannot be changed"), reason, HTTPStatus.CONFLICT)
    reason = reason_of(error, request.user)
    if isinstance(error, LogBehind):
        page = refusal(request, chosen, _("The log is behind"), reason, HTTPStatus.SERVICE_UNAVAILABLE)
        page["Retry-After"] = "5"
        return page
    return refusal(request, chosen, _("Not known as of then"), reason, HTTPStatus.CONFLICT)


def _template_context(request: HttpRequest, chosen: ChosenMoment) -> dict[str, Any]:
    return {
        "time": timezone.localtime(chosen.time),
        "moment_format": f"{get_format('DATE_FORMAT')} H:i:s",
        "zone": timezone.get_current_timezone_name(),
        "change": chosen.change,
        "address": _url("travel", chosen),
        "change_address": chosen.change and _url("change", chosen, chosen.change),
        "here": request.get_full_path() if request.method in READING else "",
        "databases": databases_of_present(),
    }


def _url(page: str, chosen: ChosenMoment, *args: object) -> str | None:
    try:
        return reverse(f"admin:bemi_django_change_{page}", args=args, current_app=chosen.site)
    except NoReverseMatch:
        return None
