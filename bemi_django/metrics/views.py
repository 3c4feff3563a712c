"""The metrics and the health probes as views of the project's own site."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from bemi_django import conf
from bemi_django.metrics.answers import Answer, of_all


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Show the metrics to whom ``BEMI_METRICS_TOKEN`` or the permission to view changes allows it."""
    if not (_has_token(request) or _may_view(request)):
        refused = HttpResponse("the token of BEMI_METRICS_TOKEN is needed\n", "text/plain", status=401)
        refused["WWW-Authenticate"] = "Bearer"
        return refused
    return _response(of_all.metrics(request.headers.get("Accept", "")))


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Say that the site answers."""
    return _response(of_all.health())


@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Say whether recording works."""
    return _response(of_all.readiness())


def _has_token(request: HttpRequest) -> bool:
    token = conf.metrics_token()
    given = request.headers.get("Authorization", "")
    return bool(token) and constant_time_compare(given, f"Bearer {token}")


def _may_view(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return user is not None and bool(user.is_active) and user.has_perm("bemi_django.view_change")


def _response(answer: Answer) -> HttpResponse:
    return HttpResponse(answer.body, content_type=answer.content_type, status=answer.status)
