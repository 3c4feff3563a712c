"""Try to open the stream, without a slot."""

from __future__ import annotations

from typing import NamedTuple

import psycopg2

from bemi_django.exceptions import BemiError, first_line
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.stream.connections import connect_stream

_SILENCE = 60.0


class Probe(NamedTuple):
    """What came of it: why no stream can be opened, and whether the server took the worker's timeout."""

    refusal: str | None
    has_timeout: bool


def probe(config: WorkerConfig) -> Probe:
    """Open a replication connection as the worker does, and close it again."""
    try:
        stream = connect_stream(config, "UTF8", _SILENCE)
        try:
            return Probe(None, stream.sender_timeout() == _SILENCE)
        finally:
            stream.close()
    except (BemiError, psycopg2.Error) as error:
        return Probe(first_line(error), True)
