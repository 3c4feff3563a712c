"""The database that has the keys of encrypted values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.stream.connections import connect_destination


@contextmanager
def key_connection(config: WorkerConfig, log: Any) -> Iterator[Any]:
    """Yield a connection to the database with the keys, which is the first one of several destinations.

    Args:
        config: The worker whose log is read.
        log: A connection to this log, in autocommit. It is yielded itself if the keys are beside it, or if
            nothing can be decrypted.
    """
    divided, masking = config.divided, config.masking
    if divided is None or divided.is_first or not (masking.encryption_keys or masking.key_store):
        yield log
        return
    parameters = divided.others[divided.division.rest]()
    with closing(connect_destination(config._replace(ask=None, destination=parameters))) as connection:
        connection.autocommit = True
        yield connection
