"""The admin site whose permissions apply where no site is asked."""

from __future__ import annotations

from django.apps import apps
from django.contrib import admin
from django.contrib.admin import AdminSite


def audit_site() -> AdminSite:
    """Return the default admin site, or an empty one where the admin is not installed."""
    return admin.site if apps.is_installed("django.contrib.admin") else AdminSite()
