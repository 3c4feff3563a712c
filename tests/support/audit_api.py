"""A site that has the API of the audit trail, and requests to it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.test import Client
from django.urls import include, path

API = "/audit/"

urlpatterns = [path("admin/", admin.site.urls), path("audit/", include("bemi_django.urls"))]


def ask(client: Client, page: str, **parameters: Any) -> tuple[int, Any]:
    """Return the status and the answer of a request to the API."""
    query = urlencode(parameters, doseq=True, errors="surrogatepass")
    response = client.get(f"{API}{page}?{query}")
    assert response["Content-Type"] == "application/json", (page, response.content[:200])
    return response.status_code, json.loads(response.content)


def answer(client: Client, page: str, **parameters: Any) -> Any:
    """Return the answer of a request that succeeds."""
    status, found = ask(client, page, **parameters)
    assert status == 200, (page, found)
    return found


def problem(client: Client, page: str, status: int, **parameters: Any) -> Any:
    """Return what is wrong about a request, and check its status."""
    found_status, found = ask(client, page, **parameters)
    assert found_status == status, (page, found)
    assert found["error"]["status"] == status and found["error"]["message"]
    return found["error"]
