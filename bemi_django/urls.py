"""URLs of the audit trail as JSON: ``path("audit/", include("bemi_django.urls"))``."""

from __future__ import annotations

import re

from django.urls import path, re_path

from bemi_django.api.operations import OPERATIONS
from bemi_django.api.views import nothing, openapi, views

app_name = "bemi_audit"
urlpatterns = [
    *(
        path(re.sub(r"\{(\w+)\}", r"<str:\1>", operation.path), views[operation.name], name=operation.name)
        for operation in OPERATIONS
    ),
    path("openapi.json", openapi, name="openapi"),
    re_path("^", nothing),
]
