"""The headers of a message: what it is known by, and where it belongs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bemi_django.wire.lane import LanePosition

#: What the message is known by, where its chunk ends, which of how many parts of the chunk it is, and how
#: changes are divided among several destinations.
IDENTIFIER_HEADER, END_HEADER = "Nats-Msg-Id", "Bemi-End"
PART_HEADER, DIVISION_HEADER = "Bemi-Part", "Bemi-Division"
_END = re.compile(r"([0-9]{1,19})\.([0-9]{1,19})")


def end_in(headers: Mapping[str, str] | None) -> LanePosition | None:
    """Return where the chunk of a message ends; None of a message that is none of a publisher."""
    end = _END.fullmatch((headers or {}).get(END_HEADER, ""))
    return None if end is None else LanePosition(int(end[1]), int(end[2]))


def attempt_of(identifier: str, number: str) -> str:
    """Return what the identifiers of the parts of one attempt to send a chunk have in common.

    Args:
        identifier: That of a part: of the chunk, the session, the number and, if sent again, the attempt.
        number: The number of the part.
    """
    chunk, _, rest = identifier.rpartition(f".{number}")
    return f"{chunk}{rest}"
