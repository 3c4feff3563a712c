"""Move the slot past WAL that is not recorded, so that an idle or a filtered database holds none."""

from __future__ import annotations

import time

from bemi_django.ingest.loop.committer import Committer
from bemi_django.ingest.pipeline import Sink
from bemi_django.ingest.stream.session import Session

#: Bytes of WAL without recorded changes that are worth a checkpoint.
_WORTH = 64 * 1024
#: The number of looks after the last change until the checkpoint moves once more, whatever the distance:
#: by that time the server has written where a restart may begin.
_QUIET_LOOKS = 3


class IdleSlot:
    """Looks every ``interval`` seconds at how far the slot is behind.

    Where the log lives in the source, a checkpoint is WAL too. So it moves only past much WAL, and one last
    time when the database has become quiet.
    """

    def __init__(self, session: Session, sink: Sink, committer: Committer, interval: float) -> None:
        self._session = session
        self._sink = sink
        self._committer = committer
        self._interval = interval
        self._look_at = time.monotonic() + interval
        self._quiet_looks = 0
        self._written = 0

    def look(self) -> None:
        """Write a checkpoint if one is worth it; call this between transactions."""
        now = time.monotonic()
        if now < self._look_at or self._sink.in_flight:
            return
        self._look_at = now + self._interval
        self._session.require_publication()
        if self._sink.written > self._written:
            self._written, self._quiet_looks = self._sink.written, 0
        self._quiet_looks += 1
        position = self._session.source.position
        behind = position - self._sink.checkpoint
        if behind > _WORTH or behind > 0 and self._quiet_looks == _QUIET_LOOKS:
            self._sink.end(position, 0, is_notable=True)
            self._committer.flush()
