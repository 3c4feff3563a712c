"""Read a JSON text once, though several stages ask one after another what is in it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson


@lru_cache(maxsize=1)
def values_of(text: bytes) -> Any:
    """Return the value of a JSON text, which nobody may change.

    Raises:
        ValueError: It is not JSON, or has more than orjson reads.
    """
    return orjson.loads(text)
