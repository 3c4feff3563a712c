"""Lists within sentences: each language has marks of its own between their parts."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _


def comma_list(parts: Iterable[object]) -> str:
    """Return words in a list, as in "name, price"."""
    return _(", ").join(map(str, parts))


def semicolon_list(parts: Iterable[object]) -> str:
    """Return clauses in a list, as in "too slow; without a key"."""
    return _("; ").join(map(str, parts))


def html_list(parts: Iterable[object]) -> SafeString:
    """Return a list of HTML; parts that are no HTML are escaped."""
    return format_html_join(_(", "), "{}", ((part,) for part in parts))
