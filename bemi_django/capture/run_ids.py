"""Ids of requests and of runs of commands."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from secrets import randbits
from time import time_ns
from uuid import RFC_4122, UUID

HEADER = "X-Request-ID"
_VALID = re.compile(r"[\x21-\x7e]{1,200}")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def new_id() -> str:
    """Return an id that says when it was made: a UUIDv7 (RFC 9562) in 32 hexadecimal digits."""
    chance = randbits(74)
    version, variant = 0x7 << 76 | chance >> 62 << 64, 0b10 << 62 | chance & (1 << 62) - 1
    return f"{time_ns() // 1_000_000 << 80 | version | variant:032x}"


def made_at(identifier: str) -> datetime | None:
    """Return when an id was made, by the clock of who made it, or None if it does not say that."""
    try:
        found = UUID(identifier)
    except ValueError:
        return None
    if found.version != 7 or found.variant != RFC_4122:
        return None
    try:
        return _EPOCH + timedelta(milliseconds=found.int >> 80)
    except OverflowError:
        return None


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
        return {"request_id": new_id()}
    if is_trusted:
        return {"request_id": header}
    return {"request_id": new_id(), "client_request_id": header}
