"""Record that a log that is kept ends, because what records it is removed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination.checkpoint import Checkpoints
from bemi_django.ingest.destination.histories import Histories
from bemi_django.ingest.destination.sealing import copier_of_gap
from bemi_django.ingest.stream.connections import connect_destination, connect_source
from bemi_django.ingest.stream.gaps import Gap, record_gap
from bemi_django.schema.replication.recorded_name import recorded_name
from bemi_django.wire.ids import source_of

_HERE = """
SELECT (pg_control_system()).system_identifier::text, pg_current_wal_flush_lsn() - '0/0'
"""
# The row sorts after whatever was committed up to the checkpoint.
_BEHIND = 16


def record_end(config: WorkerConfig, who: Mapping[str, Any]) -> bool:
    """Write a gap that begins where the log ends; return whether there is a log.

    Args:
        config: The worker whose slot is to be dropped; it must not be running.
        who: Who ends the log, for the context of the gap.

    Raises:
        psycopg2.Error: One of the databases failed.
    """
    with closing(connect_source(config)) as server, closing(connect_destination(config)) as destination:
        with server.cursor() as source, destination, destination.cursor() as log:
            source.execute(_HERE)
            system_identifier, end = source.fetchone()
            database = recorded_name(source, log, config.slot)
        checkpoint = Checkpoints(destination, config.slot).read()
        if checkpoint is None:
            return False
        with destination, destination.cursor() as cursor:
            lsn = max(int(end), checkpoint.lsn + _BEHIND)
            histories = Histories(config.slot).read(cursor)
            source = source_of(system_identifier, database)
            gap = Gap(checkpoint, checkpoint.lsn, "recording was ended with 'bemi uninstall'")
            copier = copier_of_gap(cursor, config)
            record_gap(cursor, copier, gap, database, source, lsn, histories, who)
    return True
