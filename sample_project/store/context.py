"""The context of a request to the shop."""

from __future__ import annotations

from django.http import HttpRequest


def request_context(request: HttpRequest) -> dict[str, object]:
    """Return who did what where, and the reason if the form has one."""
    context: dict[str, object] = {
        "user_id": request.user.pk,
        "endpoint": request.path,
        "method": request.method,
    }
    if reason := request.POST.get("reason"):
        context["reason"] = reason
    return context
