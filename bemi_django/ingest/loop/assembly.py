"""Put together what is between the stream of a session and the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination.batch import Outline
from bemi_django.ingest.destination.partitions import Partitions
from bemi_django.ingest.destination.repair import Repairer
from bemi_django.ingest.destination.sink import PostgresSink
from bemi_django.ingest.export.export_sink import Exported, ExportSink
from bemi_django.ingest.export.target import ExportTarget
from bemi_django.ingest.loop.baseline_ranges import BaselineRanges
from bemi_django.ingest.loop.committer import Committer
from bemi_django.ingest.loop.exported_baselines import ExportedBaselines
from bemi_django.ingest.loop.intake.intake import Intake
from bemi_django.ingest.loop.queued_baselines import QueuedBaselines
from bemi_django.ingest.loop.transaction import Transactions
from bemi_django.ingest.pipeline import Sink
from bemi_django.ingest.progress import Progress
from bemi_django.ingest.queue.backlog import Backlog
from bemi_django.ingest.queue.broker import Broker
from bemi_django.ingest.queue.course.course_follower import read_course
from bemi_django.ingest.queue.division.former_division import FormerDivision
from bemi_django.ingest.queue.lane_source import LaneSource, NamedSince
from bemi_django.ingest.queue.leftovers import discard_leftovers
from bemi_django.ingest.queue.outbox import Waiting
from bemi_django.ingest.queue.publisher import QueueSink
from bemi_django.ingest.queue.server.stream_config import warn_of_durability
from bemi_django.ingest.rows.catalog.layout_catalog import LayoutCatalog
from bemi_django.ingest.rows.change_ids import ChangeIds
from bemi_django.ingest.rows.row_writer import RowWriter
from bemi_django.ingest.shortages import Shortages
from bemi_django.ingest.stream.connections import is_database
from bemi_django.ingest.stream.session import Session

logger = logging.getLogger(__name__)

_LANES = (
    "%s goes on with %d lanes, not with %d: not all that was published is in the log, or the queue keeps it. "
    "Let consumers write it, then start the publisher again"
)


class Assembled(NamedTuple):
    """The stages of one session, which work on one stream."""

    writer: RowWriter
    sink: Sink
    committer: Committer
    transactions: Transactions
    intake: Intake


def assemble(
    session: Session,
    config: WorkerConfig,
    progress: Progress,
    shortages: Shortages,
    hold_stream: Callable[[], object],
    keep_alive: Callable[[], bool],
    note_trouble: Callable[[str], object],
) -> Assembled:
    """Begin to stream, and return the stages that take what arrives.

    Args:
        session: The open connections of the session; it closes what is opened here.
        config: What the worker works on.
        progress: Counts what is written.
        shortages: Counts the failures of all sessions.
        hold_stream: Called again and again while the destination is waited for.
        keep_alive: Called while anything else is waited for; it returns False if the worker is to stop.
        note_trouble: Keeps what an operator should know.

    Raises:
        BemiError: An administrator has to do something.
        psycopg2.Error: A failure that may pass.
    """
    database = session.database
    (xid,) = session.ask("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
    selection, masks = config.selection, config.masking
    catalog = LayoutCatalog(session.server, database, session.calculator, selection, masks)
    catalog.is_canonical, catalog.keys = config.is_sealed, session.keys
    writer = RowWriter(ChangeIds(session.system_identifier, database, int(xid)), catalog.layouts)
    writer.notes_masks = is_database(session.destination, session.system_identifier, session.server_name)
    queue = None if config.queue is None else session.keep(Broker(config.queue))
    target: ExportTarget | None = None if config.export is None else config.export.open(session.slot)
    try:
        backlog = None
        if queue is not None:
            backlog = Backlog(queue, session.slot)
            FormerDivision(queue, backlog, config._replace(slot=session.slot)).require_written()
        start = session.start(writer.ids.source, (target.position or 0) if target else 0, backlog)
    except BaseException:
        if target is not None:
            target.close()
        raise
    writer.ids.histories = session.histories
    writer.render_context = catalog.render_context
    catalog.stream_from(start)
    repairer = Repairer(writer, database, shortages, masks, session.copier)
    counts = catalog.masks.counts = progress.counts
    for _, condition in selection.conditions:
        condition.counts = counts
    named_since: NamedSince = {}
    if target is not None:
        sink: Sink = ExportSink(
            session.destination,
            target,
            Exported(session.slot, start, session.histories),
            repairer.outline_of,
            hold_stream,
            keep_alive,
            counts,
            writer.omissions,
            config.largest_letter,
        )
    elif queue is None:
        sink = PostgresSink(
            session.destination,
            session.slot,
            start,
            repairer.write,
            largest_letter=config.largest_letter,
            counts=counts,
            while_waiting=hold_stream,
            omissions=writer.omissions,
            copier=session.copier,
        )
    else:
        waiting = Waiting(hold_stream, keep_alive, note_trouble)
        sink = _publishing(queue, session, config, start, repairer.outline_of, waiting, writer, named_since)
    session.keep(sink)
    for gap in session.gaps:
        sink.add(gap)
        sink.end(start, gap.change.begin.committed_at)
    committer = Committer(session, sink, progress)
    partitions = Partitions(session.destination, is_used=queue is None and target is None)
    transactions = Transactions(catalog, writer, sink, partitions, committer, keep_alive)
    baselines: BaselineRanges
    encoding = session.destination.get_parameter_status("server_encoding")
    if isinstance(sink, ExportSink):
        baselines = ExportedBaselines(session, catalog.transactions.shows, keep_alive, masks, sink.hurry)
    elif queue is None:
        baselines = BaselineRanges(session, catalog.transactions.shows, committer.flush, keep_alive, masks)
    else:

        def flush() -> None:
            committer.flush()
            queued.wait_for_consumers(sink)

        shows = catalog.transactions.shows
        baselines = queued = QueuedBaselines(session, shows, flush, keep_alive, masks, named_since)
    intake = Intake(
        writer,
        sink,
        repairer,
        transactions,
        counts,
        encoding,
        shortages,
        baselines,
        catalog.masks,
        config.provenance,
    )
    return Assembled(writer, sink, committer, transactions, intake)


def _publishing(
    queue: Broker,
    session: Session,
    config: WorkerConfig,
    start: int,
    outline: Outline,
    waiting: Waiting,
    writer: RowWriter,
    named_since: NamedSince,
) -> QueueSink:
    """Return the sink that publishes, which has told other destinations how the log has come to its start."""
    if not queue.address.is_synced:
        warn_of_durability(queue.address.stream, queue.replicas)
    if session.lanes != queue.address.lanes:
        logger.warning(_LANES, session.slot, session.lanes, queue.address.lanes)
    # Nobody else publishes now: the slot is ours.
    discard_leftovers(queue, session.slot, range(session.lanes))
    sink = QueueSink(
        queue,
        LaneSource(
            session.slot,
            session.lanes,
            session.histories,
            session.origin,
            config.is_sealed,
            config.division,
            named_since,
        ),
        start,
        outline,
        largest_letter=config.largest_letter,
        waiting=waiting,
        omissions=writer.omissions,
    )
    try:
        course = read_course(session.destination, session.slot, writer.ids.source)
        if course.has_turns and (config.division or queue.address.keep):
            sink.tell(course)
    except BaseException:
        sink.close()
        raise
    return sink
