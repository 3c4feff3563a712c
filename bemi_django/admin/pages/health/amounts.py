"""Amounts of the health page, as the language of its reader writes them."""

from __future__ import annotations

from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format
from django.utils.translation import gettext as _


def bytes_text(count: float) -> str:
    """Return a number of bytes."""
    return filesizeformat(count)


def count_text(count: float) -> str:
    """Return a number of things."""
    return number_format(round(count), force_grouping=True)


def seconds_text(seconds: float) -> str:
    """Return a time."""
    digits = 0 if seconds >= 10 or seconds == int(seconds) else 2
    return _("%(number)s s") % {"number": number_format(round(seconds, digits), digits, force_grouping=True)}
