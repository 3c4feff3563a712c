"""Put together what is between the records and the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import psycopg2

from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.debezium.followed import Outlets, Refusal
from bemi_django.ingest.debezium.lane_sink import LaneSink
from bemi_django.ingest.debezium.log_beginning import OpenLog, SourceServer
from bemi_django.ingest.debezium.order import CommitOrder
from bemi_django.ingest.debezium.printing.row_messages import RowMessages
from bemi_django.ingest.debezium.printing.source_tables import SourceTables
from bemi_django.ingest.debezium.printing.texts import Texts
from bemi_django.ingest.debezium.reading.record_source import RecordSource
from bemi_django.ingest.debezium.snapshot_rows import SnapshotRows
from bemi_django.ingest.debezium.source_transactions import SourceTransactions
from bemi_django.ingest.debezium.translation import Translator
from bemi_django.ingest.destination import dead_letters
from bemi_django.ingest.destination.partitions import Partitions
from bemi_django.ingest.destination.repair import Repairer
from bemi_django.ingest.loop.intake.intake import Intake
from bemi_django.ingest.loop.transaction import Transactions
from bemi_django.ingest.queue.log_writer import LogWriter
from bemi_django.ingest.rows.catalog.calculator import Calculator
from bemi_django.ingest.rows.catalog.layout_catalog import LayoutCatalog
from bemi_django.ingest.rows.change_ids import ChangeIds
from bemi_django.ingest.rows.row_writer import RowWriter
from bemi_django.ingest.shortages import Shortages
from bemi_django.ingest.stream.connections import (
    connect_calculator,
    connect_destination,
    connect_keys,
    connect_source,
    is_database,
)
from bemi_django.ingest.timeouts import Timeouts
from bemi_django.schema import installed


class Connections(NamedTuple):
    """What a session works on: the source, what evaluates code of table owners there, the log, the keys."""

    server: Any
    calculator: Calculator
    destination: Any
    keys: Any


def connect(config: WorkerConfig, timeouts: Timeouts, opened: ExitStack) -> Connections:
    """Open the connections of a session.

    Args:
        config: What the consumer works on.
        timeouts: Timeouts of the connections.
        opened: Closes them.
    """
    server = connect_source(config, timeouts.answer)
    opened.callback(server.close)
    calculator = Calculator(lambda: connect_calculator(config), server)
    opened.callback(calculator.close)
    destination = connect_destination(config, *timeouts.of_log)
    opened.callback(destination.close)
    keys = connect_keys(config, *timeouts.of_log)
    opened.callback(keys.close)
    return Connections(server, calculator, destination, keys)


class Stages(NamedTuple):
    """The stages of one session; ``awaited`` are transactions of the source if the log is there, too."""

    translator: Translator
    sink: LaneSink
    awaited: SourceTransactions | None


def assemble_stages(
    connections: Connections,
    config: WorkerConfig,
    slot: str,
    server: SourceServer,
    log: OpenLog,
    counts: Counter[str],
    keep_alive: Callable[[], bool],
    *,
    records: RecordSource,
) -> Stages:
    """Return the stages that take records.

    Args:
        connections: The connections of the session.
        config: What the consumer works on.
        slot: The name under which the log knows the source.
        server: The server of the source.
        log: Where the log ends.
        counts: Counts whatever is worth a word.
        keep_alive: Called while something is waited for; it returns False if the consumer is to stop.
        records: Where records come from.
    """
    masks, destination = config.masking, connections.destination
    catalog = LayoutCatalog(connections.server, server.name, connections.calculator, config.selection, masks)
    catalog.is_canonical, catalog.keys = config.is_sealed, connections.keys
    writer = RowWriter(ChangeIds(server.system_identifier, server.name, server.next_xid), catalog.layouts)
    is_local = is_database(destination, server.system_identifier, server.server_name)
    writer.notes_masks = is_local
    writer.ids.histories = log.histories
    writer.render_context = catalog.render_context
    catalog.stream_from(log.end().position)
    shortages = Shortages()
    repairer = Repairer(writer, server.name, shortages, masks)
    catalog.masks.counts = counts
    for _, condition in config.selection.conditions:
        condition.counts = counts
    sink = LaneSink(
        LogWriter(destination, is_sealed=config.is_sealed),
        slot,
        log.position,
        log.histories,
        repairer.outline_of,
        config.largest_letter,
        writer.omissions,
        is_canonical=config.is_sealed,
    )
    source = SourceTransactions(connections.server, keep_alive, records.accept)

    def is_awaited() -> bool:
        assert transactions.current is not None
        return source.is_awaited(transactions.current.xid)

    transactions = Transactions(
        catalog, writer, sink, Partitions(destination, is_used=False), sink, is_awaited
    )
    snapshot = SnapshotRows()
    encoding = destination.get_parameter_status("server_encoding")
    intake = Intake(
        writer,
        sink,
        repairer,
        transactions,
        counts,
        encoding,
        shortages,
        snapshot,
        catalog.masks,
        config.provenance,
    )

    def rows(query: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
        with connections.server.cursor() as cursor:
            cursor.execute(query, parameters)
            return list(cursor.fetchall())

    context_masks = catalog.masks.of_contexts()

    def refuse(refusal: Refusal) -> None:
        current = transactions.current
        if current is not None and current.is_logged:
            return
        begin = None if current is None else current.begin
        letter = dead_letters.of_message(begin, refusal.data, refusal.reason)
        letter = letter.withheld() if may_hold_masked(refusal) else letter
        if begin is None:
            sink.add_letter(letter)
        else:
            sink.add_refused(letter, intake.pass_over())

    def may_hold_masked(refusal: Refusal) -> bool:
        if refusal.table is not None:
            return catalog.masks.has_masks(refusal.table)
        # What base64 holds, nobody sees.
        is_message = b'"message"' in refusal.data and context_masks.has_rules
        return is_message or context_masks.may_be_in(refusal.data)

    texts = Texts(lambda query, value: _printed(rows, query, value), records.modes)
    parts = installed.parts(destination.log)
    translator = Translator(
        server.names,
        (parts.schema or "", parts.name) if is_local else None,
        CommitOrder(log.end(), log.first_lsn, log.first_number),
        RowMessages(SourceTables(rows), texts),
        Outlets(intake.take, snapshot.put, refuse),
        records.modes.binaries,
    )
    return Stages(translator, sink, source if is_local else None)


def _printed(rows: Callable[[str, list[Any]], list[tuple[Any, ...]]], query: str, value: str) -> str:
    try:
        ((text,),) = rows(query, [value])
    except psycopg2.DataError:
        raise ValueError("a value that the source does not accept") from None
    return str(text)
