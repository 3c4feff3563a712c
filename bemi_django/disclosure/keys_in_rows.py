"""Find values of a row in the keys of its change."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from bemi_django.log.lossless_json import dumps, loads
from bemi_django.models import Change


def holds_value(change: Change, hidden: set[str]) -> bool:
    """Tell whether a part of a key is a value of some columns, as when the table had another key.

    Args:
        change: The change whose keys are meant.
        hidden: The columns.
    """
    values = [row[name] for row in (change.before, change.after) for name in hidden if name in row]
    texts = {_plain(value) for value in values if value is not None}
    keys = (change.primary_key, change.previous_primary_key)
    return any(_plain(part) in texts for key in keys if key is not None for part in _parts(key))


def _parts(key: str) -> list[Any]:
    parts: list[Any] = [key]
    if key.startswith("["):
        with suppress(ValueError):
            parts += loads(key)
    return parts


def _plain(value: Any) -> str:
    """Return one text for a value, whether it is printed as text or as JSON."""
    if isinstance(value, bool):
        return "t" if value else "f"
    text = value if isinstance(value, str) else dumps(value)
    return re.sub(r"(?<=\d)T(?=\d)", " ", text).removesuffix(":00")
