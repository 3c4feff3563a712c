"""Request ids."""

from __future__ import annotations

import re
from secrets import token_hex

HEADER = "X-Request-ID"
_VALID = re.compile(r"[\x21-\x7e]{1,200}")


def request_ids(header: str, *, is_trusted: bool) -> dict[str, str]:
    """Return the ids of a request, as they are recorded.

    Clients choose the header, and could choose the id of another request. It is therefore the request's id
    only if a trusted proxy sent it.

    Args:
        header: Value of the request's ``X-Request-ID`` header, empty if it has none. It is ignored unless it
            consists of up to 200 printable ASCII characters without blanks.
        is_trusted: Whether to take the header for the id.

    Returns:
        ``request_id``, and ``client_request_id`` if there is a header that is not trusted.
    """
    if not _VALID.fullmatch(header):
        return {"request_id": token_hex(16)}
    if is_trusted:
        return {"request_id": header}
    return {"request_id": token_hex(16), "client_request_id": header}
