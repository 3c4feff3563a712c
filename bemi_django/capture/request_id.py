"""The id of a request: the one that came with it, or a new one."""

from __future__ import annotations

import re
from secrets import token_hex

HEADER = "X-Request-ID"
_VALID = re.compile(r"[\x21-\x7e]{1,200}")


def request_id_from(header: str) -> str:
    """Return what ``X-Request-ID`` says when it can be an id, else a new id."""
    return header if header and _VALID.fullmatch(header) else token_hex(16)
