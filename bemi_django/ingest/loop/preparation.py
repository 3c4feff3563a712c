"""Create the slot of a source before its worker runs, so that nothing is missing in between."""

from __future__ import annotations

from typing import NamedTuple

from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.loop.worker import advised
from bemi_django.ingest.stream.session import Session
from bemi_django.ingest.timeouts import Timeouts
from bemi_django.wire.ids import source_of


class PreparedSlot(NamedTuple):
    """A slot, and the position in bytes from which its worker will read."""

    name: str
    lsn: int


def prepare(config: WorkerConfig, timeouts: Timeouts | None = None) -> PreparedSlot:
    """Create the slot unless it is there, and begin the log.

    Args:
        config: The configuration of the worker.
        timeouts: Timeouts of the worker.

    Raises:
        SlotInUse: A worker reads it.
        LostHistory: The log has begun, and its slot is not there any more.
        BemiError: An administrator has to do something first.
        psycopg2.Error: One of the databases failed.
    """
    session = Session(config, timeouts or Timeouts())
    try:
        with advised():
            session.open()
            lsn = session.find_start(source_of(session.system_identifier, session.database))
            return PreparedSlot(session.slot, lsn)
    finally:
        session.close()
