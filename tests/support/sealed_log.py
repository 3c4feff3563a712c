"""Sealed changes that a test writes without a source."""

from __future__ import annotations

from contextlib import closing

import orjson

from bemi_django import conf
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.destination.partitions import make_partition, microseconds_of
from bemi_django.ingest.destination.sealing import SealingCopier, follow_setting
from bemi_django.ingest.protocol.messages import Begin, Relation, Row
from bemi_django.ingest.rows import values
from bemi_django.ingest.rows.canonical_json import canonical_context
from bemi_django.ingest.rows.change_ids import ChangeIds
from bemi_django.ingest.rows.row_layout import RowLayout, head, template
from bemi_django.ingest.rows.row_writer import RowWriter
from bemi_django.ingest.stitching.stitched import Stitched
from bemi_django.ingest.stream.connections import connect_destination
from bemi_django.schema.database_names import database_name
from bemi_django.wire.sequence import FIRST_HISTORY
from tests.support.old_months import moment_in

SLOT = "bemi_sealed"
NAMES = ("id", "name")
TABLE = Relation(1, "public", "sealed", ())


def write_sealed(month: str, count: int, first: int = 1, begin: bool = False, server: str = "1") -> None:
    """Write changes of a month, each in a transaction of its own, and two of them to a link.

    Args:
        month: The month, as ``2003-05``.
        count: The number of changes.
        first: The number of the first one.
        begin: Whether sealing begins before them.
        server: The server that they come from.
    """
    config, database = _config(), database_name("default")
    layout = RowLayout(
        head(database, "public", "sealed"), NAMES, template(NAMES), (values.number, values.text), (0,)
    )
    writer = RowWriter(ChangeIds(server, database, 0), lambda change: iter([layout]))
    writer.render_context = canonical_context
    with closing(connect_destination(config)) as connection:
        with connection, connection.cursor() as cursor:
            make_partition(cursor, moment_in(month))
            if begin:
                follow_setting(cursor, config, database, writer.ids.source, [FIRST_HISTORY], 8)
        rows = [_pending(writer, month, number) for number in range(first, first + count)]
        copier = SealingCopier(SLOT)
        for start in range(0, count, 2):
            with connection, connection.cursor() as cursor:
                copier.copy(cursor, rows[start : start + 2])
                copier.seal(cursor)


def set_sealing(is_on: bool, start: int, source: int) -> None:
    """Have sealing begin or end at a position of a source."""
    config = _config()._replace(is_sealed=is_on)
    with closing(connect_destination(config)) as connection, connection, connection.cursor() as cursor:
        follow_setting(cursor, config, database_name("default"), source, [FIRST_HISTORY], start)


def _config() -> WorkerConfig:
    return WorkerConfig({}, conf.connection_parameters("default"), SLOT, "", is_sealed=True)


def _pending(writer: RowWriter, month: str, number: int) -> Pending:
    begin = Begin(number * 64, microseconds_of(moment_in(month, number % 60)), number)
    row: Row = [str(number).encode(), f"name {number}".encode()]
    context = orjson.dumps({"user": number, "zz": 1.5, "a": [{"z": 1, "b": None}]})
    change = Stitched(begin, 0, TABLE, "CREATE", None, row, context)
    return Pending(writer.row(change), change, b"")
