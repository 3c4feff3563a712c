"""Find values of a row in the keys of its change."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from bemi_django.log.lossless_json import dumps, loads

_MOMENT = re.compile(r"(?<=\d)T(?=\d)")


def holds_value(keys: Iterable[str | None], values: Iterable[Any]) -> bool:
    """Tell whether a part of a key is one of some values, as when the table had another key.

    Args:
        keys: The keys of a change.
        values: Values of its row.
    """
    texts = {_plain(value) for value in values if value is not None}
    for key in keys if texts else ():
        if key is not None and (_plain(key) in texts or any(_plain(part) in texts for part in _parts(key))):
            return True
    return False


def _parts(key: str) -> Iterable[Any]:
    if key.startswith("["):
        with suppress(ValueError):
            found: list[Any] = loads(key)
            return found
    return ()


def _plain(value: Any) -> str:
    """Return one text for a value, whether it is printed as text or as JSON."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool):
        return "t" if value else "f"
    else:
        text = dumps(value)
    return _MOMENT.sub(" ", text).removesuffix(":00") if ":" in text else text
