"""Request ids."""

from __future__ import annotations

import re
from secrets import token_hex

HEADER = "X-Request-ID"
_VALID = re.compile(r"[\x21-\x7e]{1,200}")


def request_id_from(header: str) -> str:
    """Return the id of a request.

    Args:
        header: Value of the request's ``X-Request-ID`` header, empty if it has none.

    Returns:
        The header's value if it consists of up to 200 printable ASCII characters without blanks,
        otherwise a new random id.
    """
    return header if header and _VALID.fullmatch(header) else token_hex(16)
