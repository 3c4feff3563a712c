"""The context of a request, recorded with every row that it changes."""

from __future__ import annotations

from django.http import HttpRequest


def request_context(request: HttpRequest) -> dict[str, object]:
    return {
        "user_id": request.user.pk,
        "endpoint": request.path,
        "method": request.method,
    }
