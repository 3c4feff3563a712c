"""Write anchors beside the worker, at an interval."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, connections

from bemi_django import conf, destinations
from bemi_django.exceptions import BemiError, first_line
from bemi_django.seals import configured
from bemi_django.seals.anchors import Anchor, newest, shown, write

logger = logging.getLogger(__name__)

#: Seconds after which an anchor that could not be written is tried again.
_AGAIN = 60.0
#: Seconds that the end of the worker waits for an anchor that is being written.
_PATIENCE = 5.0


@contextmanager
def anchoring(*, is_to_end: bool = False, is_writing: bool = True) -> Iterator[None]:
    """Write anchors to ``BEMI_ANCHORS`` while the block runs, in a thread.

    Args:
        is_to_end: Write them once, when the block has ended.
        is_writing: Whether the process writes the log; otherwise it writes no anchors.

    Raises:
        BemiError: A setting is wrong.
    """
    try:
        places, every = configured.anchors(), configured.anchor_every()
    except ValueError as error:
        raise BemiError(str(error)) from None
    if not places or not is_writing or not configured.is_sealed():
        yield
        return
    writer = AnchorWriter(places)
    if is_to_end:
        yield
        writer.write()
        return
    stopping = threading.Event()
    thread = threading.Thread(
        target=_anchor, args=(writer, every, stopping), name="bemi-anchors", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        # It may wait for somebody else's server.
        thread.join(_PATIENCE)


class AnchorWriter:
    """Writes the newest links of all destinations to some places; each place gets what it has not got."""

    def __init__(self, places: list[str]) -> None:
        self._written: dict[str, list[Anchor]] = {place: [] for place in places}

    def write(self) -> bool:
        """Write anchors, and log what cannot be written; return whether all were."""
        anchors: list[Anchor] = []
        is_read = True
        for alias in [conf.destination()] if destinations.is_chosen() else destinations.aliases():
            try:
                anchors += newest(alias)
            except (BemiError, DatabaseError) as error:
                # One that is away keeps no others from being written.
                logger.error("anchors of %s cannot be read: %s", alias, first_line(error))
                is_read = False
        return not [place for place in self._written if not self._write(place, anchors)] and is_read

    def _write(self, place: str, anchors: list[Anchor]) -> bool:
        fresh = [anchor for anchor in anchors if anchor not in self._written[place]]
        if not fresh:
            return True
        try:
            write(place, fresh)
        # Whatever it is must not end the thread. Messages may quote an address with a password.
        except Exception as error:
            reason = (
                getattr(error, "strerror", None) or getattr(error, "reason", None) or type(error).__name__
            )
            logger.error(
                "the anchor was not written to %s (%s): it will be tried again", shown(place), reason
            )
            return False
        known = {(anchor.destination, anchor.chain): anchor for anchor in (*self._written[place], *fresh)}
        self._written[place] = [*known.values()]
        return True


def _anchor(writer: AnchorWriter, every: float, stopping: threading.Event) -> None:
    is_written = True
    while not stopping.wait(every if is_written else min(every, _AGAIN)):
        try:
            is_written = writer.write()
        # It must not end unnoticed. Messages of others may quote values.
        except Exception as error:
            logger.error("anchors were not written (%s): it will be tried again", type(error).__name__)
            is_written = False
        finally:
            # Those of the thread.
            connections.close_all()
