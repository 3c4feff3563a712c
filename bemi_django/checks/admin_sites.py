"""Check that the audit trail can be reached in Django's admin."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.urls import URLResolver, get_resolver

from bemi_django.models import Change


@register(Tags.urls)
def check_admin_sites(**kwargs: Any) -> list[CheckMessage]:
    """Check that one of the admin sites of the project's URLs has the audit trail.

    Args:
        kwargs: What Django passes to every check.

    Returns:
        A warning if there are sites, but none has it.
    """
    if not apps.is_installed("django.contrib.admin") or not getattr(settings, "ROOT_URLCONF", None):
        return []
    sites = {id(site): site for site in _sites(get_resolver().url_patterns)}
    if not sites or any(map(_has_audit_trail, sites.values())):
        return []
    names = ", ".join(sorted(site.name for site in sites.values()))
    return [
        Warning(
            f"The admin has no audit trail: it is not registered on the site of the URLs ({names}).",
            hint=(
                "Register it where you register your models: from bemi_django.admin import ChangeAdmin; "
                "from bemi_django.models import Change; site.register(Change, ChangeAdmin)."
            ),
            id="bemi.W012",
        )
    ]


def _sites(patterns: Iterable[Any]) -> Iterator[Any]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _sites(pattern.url_patterns)
        elif (site := getattr(pattern.callback, "admin_site", None)) is not None:
            yield site


def _has_audit_trail(site: Any) -> bool:
    # Importing the module would register the audit trail on the default site.
    ours = sys.modules.get("bemi_django.admin.change_admin")
    return ours is not None and isinstance(site._registry.get(Change), ours.ChangeAdmin)
