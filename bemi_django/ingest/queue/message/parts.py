"""Put chunks together that came in parts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from bemi_django.ingest.queue.message.headers import IDENTIFIER_HEADER, PART_HEADER, attempt_of, end_in
from bemi_django.wire.lane import LanePosition

#: Attempts to send a chunk that are kept side by side.
_ATTEMPTS = 8
#: Seconds within which a publisher sends all parts of a chunk, or begins anew.
_LATEST = 60.0


class _Attempt(NamedTuple):
    """Parts of an attempt, and since when there are some, in seconds of ``time.monotonic()``."""

    since: float
    parts: list[Any]


class Parts:
    """Keeps the parts of chunks that are not complete.

    Two publishers may send side by side for a moment: one that was paused, and one that has taken over.
    """

    def __init__(self) -> None:
        self._kept: dict[str, _Attempt] = {}

    def take(self, message: Any) -> Sequence[Any]:
        """Return the messages of the chunk that a message completes; none if it does not."""
        headers = message.headers or {}
        number, _, last = headers.get(PART_HEADER, "1/1").partition("/")
        if number == last == "1":
            return [message]
        attempt = attempt_of(headers.get(IDENTIFIER_HEADER, ""), number)
        kept = self._kept.pop(attempt, None)
        if kept is None or number == "1":
            kept = _Attempt(time.monotonic(), [])
        parts = kept.parts
        if number != str(len(parts) + 1):
            # Of an attempt that was interrupted: the chunk comes again.
            return []
        parts.append(message)
        if number == last:
            return parts
        self._kept[attempt] = kept
        if len(self._kept) > _ATTEMPTS:
            del self._kept[next(iter(self._kept))]
        return []

    def before(self, number: int, position: LanePosition) -> int:
        """Return the number of the last message before those that are kept, which are not done with.

        Args:
            number: That of the last message that is done with otherwise.
            position: Where the lane is: chunks that end there are not needed any more.
        """
        self._kept = {
            attempt: kept
            for attempt, kept in self._kept.items()
            if (end_in(kept.parts[0].headers) or LanePosition(0)) > position
        }
        # Who may publish can send a part that no other ever follows.
        oldest = time.monotonic() - _LATEST
        needed = [kept.parts[0] for kept in self._kept.values() if kept.since > oldest]
        return min([number, *(int(part.metadata.sequence.stream) - 1 for part in needed)])
