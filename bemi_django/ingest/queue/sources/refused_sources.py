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
from bemi_django.ingest.queue.lane_locks import HELD_OF_KEY

logger = logging.getLogger(__name__)

# Consumers that leave a source out share a lock, which ends with their connection: others must not wait for
# lanes that they hold.
_KEY = "hashtextextended('_bemi.refused ' || %s::text, 0)"
_LOCK = f"SELECT pg_try_advisory_lock_shared({_KEY})"
_UNLOCK = f"SELECT pg_advisory_unlock_shared({_KEY})"
_IS_LOCKED = f"""
SELECT coalesce((SELECT trouble FROM _bemi.checkpoint WHERE slot = %s), '') FROM (SELECT {_KEY}) k (key)
WHERE EXISTS ({HELD_OF_KEY} AND is_ours)
"""  # noqa: S608 - constants

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
        self._locked: set[str] = set()

    def add(self, refusal: SourceRefused) -> None:
        """Leave a source out for a while, and tell operators and other consumers why."""
        source, former = refusal.source, self._refusals.get(refusal.source)
        self._refusals[source], self._again_at[source] = refusal, time.monotonic() + _AGAIN
        if former is None or str(former) != str(refusal):
            logger.error("%s is left out: %s", source, refusal)
        Checkpoints(self._connection, source).note_trouble(str(refusal))
        if source not in self._locked:
            self._run(_LOCK, source)
            self._locked.add(source)

    def __contains__(self, source: object) -> bool:
        """Return whether a source is left out now."""
        return time.monotonic() < self._again_at.get(str(source), 0.0)

    def is_known(self, source: str) -> bool:
        """Return whether this consumer or another one has refused a source, and has not written it since."""
        if source not in self._refusals and (found := self._run(_IS_LOCKED, source, source)):
            self._refusals[source] = SourceRefused(source, found[0][0])
        return source in self._refusals

    def forget_others(self) -> None:
        """Forget what other consumers have refused, which they may have written since."""
        self._refusals = {source: one for source, one in self._refusals.items() if source in self._locked}

    def accept(self, source: str) -> None:
        """Note that changes of a source were written."""
        self._refusals.pop(source, None)
        if source in self._locked:
            self._locked.remove(source)
            self._run(_UNLOCK, source)

    def require_none(self) -> None:
        """Check that all sources are written.

        Raises:
            SourceRefused: One is not.
        """
        for refusal in self._refusals.values():
            raise refusal

    def _run(self, query: str, *parameters: str) -> list[Any]:
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(query, parameters)
            found: list[Any] = cursor.fetchall()
            return found
