"""Say where long names may be broken, so that a narrow column does not break them inside words."""

from __future__ import annotations

import re

from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from bemi_django.admin.display.values.turned_text import in_order

#: A part of a name with what ends it.
_PART = re.compile(r"[^./_@:-]*[./_@:-]*")


def breakable(name: str) -> SafeString:
    """Return a dotted name, a path or an e-mail address that a browser breaks after its signs first."""
    return format_html_join(
        SafeString("<wbr>"), "{}", ((part,) for part in _PART.findall(in_order(name)) if part)
    )
