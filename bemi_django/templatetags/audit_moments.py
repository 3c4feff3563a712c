"""The filter of the package's own templates for moments: ``{{ change.committed_at|moment }}``."""

from __future__ import annotations

from datetime import datetime

from django import template

from bemi_django.admin.display.values.moments import moment_text

register = template.Library()


@register.filter
def moment(value: datetime | None) -> str:
    """Return a moment to the second, in the current time zone and as the reader's language writes it."""
    return moment_text(value) if value is not None else ""
