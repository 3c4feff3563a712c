"""Compare every tracked table with its log, as they were at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

import psycopg2

from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.stream.connections import connect_destination, connect_tables
from bemi_django.verification.compared_table import ComparedTable, tracked_tables
from bemi_django.verification.comparison import Comparison, compare
from bemi_django.verification.moment import last_id_of_earlier_servers, take_moment, wait_for_log
from bemi_django.verification.result import Verified

#: Seconds without any progress of the log after which it is considered to stand still.
PATIENCE_SECONDS = 30.0


def verify(
    config: WorkerConfig, only: Sequence[str] = (), patience: float = PATIENCE_SECONDS
) -> Iterator[Verified]:
    """Compare tracked tables with the log, one after another, in one snapshot of the source.

    Args:
        config: The worker whose log is compared.
        only: Tables to compare, as ``schema.table``; empty for all tracked tables.
        patience: Seconds to wait for a log that makes no progress towards the snapshot.

    Yields:
        The result of each table, in the order of their names.

    Raises:
        BemiError: If there is no log, if it stands still, or if a table in ``only`` is not tracked.
    """
    with closing(connect_tables(config)) as source, closing(connect_destination(config)) as destination:
        source.autocommit = False
        source.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with source.cursor() as cursor:
            # Casts to json of table owners may need the path of the role. Nothing else does.
            cursor.execute("SET LOCAL search_path = pg_catalog, pg_temp")
            moment = take_moment(source)
            tables = tracked_tables(source, config.publication, only)
            cursor.execute("SET LOCAL search_path TO DEFAULT")
        start_xid = wait_for_log(config, destination, moment, patience)
        earlier = last_id_of_earlier_servers(destination, config.slot)
        comparison = Comparison(source, destination, moment, start_xid, earlier)
        for table in tables:
            yield _compare(comparison, table)


def _compare(comparison: Comparison, table: ComparedTable) -> Verified:
    """Compare one table; what is wrong with it does not keep the others from being compared."""
    connections = comparison.source, comparison.destination
    _execute(connections, "SAVEPOINT comparison")
    try:
        return compare(comparison, table)
    except (psycopg2.OperationalError, psycopg2.InterfaceError):
        raise
    except psycopg2.Error as error:
        _execute(connections, "ROLLBACK TO SAVEPOINT comparison")
        # The server's message may hold values.
        return Verified(str(table), failure=f"{type(error).__name__} ({error.pgcode})")


def _execute(connections: Iterable[Any], statement: str) -> None:
    for connection in connections:
        with connection.cursor() as cursor:
            cursor.execute(statement)
