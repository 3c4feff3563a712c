"""Sources that cannot be written until somebody acts; a consumer goes on with the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.destination.checkpoint import Checkpoints
from bemi_django.ingest.error_advice import is_lasting

logger = logging.getLogger(__name__)

#: Seconds after which a source is tried again.
_AGAIN = 10.0


class SourceRefused(ReplicationError):
    """Changes of a source cannot be written; ``source`` is the name of its slot."""

    def __init__(self, source: str, message: str) -> None:
        super().__init__(message)
        self.source = source


@contextmanager
def about(source: str) -> Iterator[None]:
    """Let errors that trying again does not mend be those of a source.

    Raises:
        SourceRefused: In place of another ``ReplicationError``.
    """
    try:
        yield
    except SourceRefused:
        raise
    except ReplicationError as error:
        if not is_lasting(error):
            raise
        raise SourceRefused(source, str(error)) from error


class RefusedSources:
    """Keeps which sources are left out for now, tells why, and when they are to be tried again.

    Args:
        connection: A connection to the destination.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._refusals: dict[str, SourceRefused] = {}
        self._again_at: dict[str, float] = {}

    def add(self, refusal: SourceRefused) -> None:
        """Leave a source out for a while, and tell operators why."""
        source, former = refusal.source, self._refusals.get(refusal.source)
        self._refusals[source], self._again_at[source] = refusal, time.monotonic() + _AGAIN
        if former is None or str(former) != str(refusal):
            logger.error("%s is left out: %s", source, refusal)
        Checkpoints(self._connection, source).note_trouble(str(refusal))

    def __contains__(self, source: object) -> bool:
        """Return whether a source is left out now."""
        return time.monotonic() < self._again_at.get(str(source), 0.0)

    def is_known(self, source: str) -> bool:
        """Return whether a source was refused, and nothing of it was written since."""
        return source in self._refusals

    def accept(self, source: str) -> None:
        """Note that changes of a source were written."""
        self._refusals.pop(source, None)

    def require_none(self) -> None:
        """Check that all sources are written.

        Raises:
            SourceRefused: One is not.
        """
        for refusal in self._refusals.values():
            raise refusal
