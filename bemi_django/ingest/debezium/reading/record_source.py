"""Where records come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bemi_django.ingest.debezium.reading.record import DEFAULT_MODES, Modes
from bemi_django.ingest.debezium.reading.record_files import RecordFiles
from bemi_django.ingest.debezium.reading.record_stream import EVERYTHING


class RecordSource(NamedTuple):
    """Where records come from: files, or ``subjects`` of the queue of the configuration.

    ``modes`` are settings of the connector. ``is_complete`` tells that no more records come after the files.
    ``accept`` lets the log go on where something was lost: it is called with what was. None does not.
    """

    files: RecordFiles | None = None
    subjects: tuple[str, ...] = (EVERYTHING,)
    modes: Modes = DEFAULT_MODES
    is_complete: bool = False
    accept: Callable[[str], None] | None = None
