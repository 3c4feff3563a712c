"""Filters of the package's own templates, such as ``{{ change.committed_at|moment }}``."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils.formats import number_format

from bemi_django.admin.display.values.moments import moment_text
from bemi_django.admin.display.values.operation_names import operation_text
from bemi_django.admin.display.values.turned_text import in_order

register = template.Library()
register.filter(in_order)


@register.filter
def moment(value: datetime | None) -> str:
    """Return a moment to the second, in the current time zone and as the reader's language writes it."""
    return moment_text(value) if value is not None else ""


@register.filter
def grouped(value: int) -> str:
    """Return a number with the thousands separators of the reader's language."""
    return number_format(value, force_grouping=True)


@register.filter
def operation(value: str) -> str:
    """Return the name of an operation in the reader's language."""
    return operation_text(value)
