"""``bemi consume``: write what a queue holds to the log."""

from __future__ import annotations

import logging
from argparse import ArgumentParser, ArgumentTypeError
from contextlib import nullcontext
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bemi_django import destinations
from bemi_django.ingest.queue.consumer import Consumer
from bemi_django.ingest.queue.consumption import Consumption
from bemi_django.ingest.queue.sources.replay import Replayed
from bemi_django.management.output.log_output import FORMATS, log_to
from bemi_django.management.subcommand import add_subcommand
from bemi_django.management.worker.baseline_beside import recording_baseline
from bemi_django.management.worker.configured_worker import worker_config
from bemi_django.management.worker.record_formats import (
    DEBEZIUM,
    OF_RECORDS,
    add_formats,
    are_files,
    records_consumer,
    require_unused,
)
from bemi_django.management.worker.stop_signals import stopped_by_signals
from bemi_django.seals.anchoring import anchoring
from bemi_django.sinks.configured import sink_address
from bemi_django.wire.queue_address import QueueAddress

logger = logging.getLogger(__name__)

_DAY = timedelta(days=1)
_NO_QUEUE = "no queue: give its address, nats://HOST:PORT/STREAM, or set BEMI_SINK"


def add_destination_of_run(run: ArgumentParser) -> None:
    """Add ``--to`` to ``bemi run``."""
    run.add_argument(
        "--to",
        metavar="ADDRESS",
        help="write changes there and not to the log (default: BEMI_SINK): nats://HOST:PORT/STREAM, from "
        "where 'bemi consume' writes them to the log, file:///PATH.jsonl, parquet:///DIRECTORY, "
        "s3://BUCKET/FOLDER, https://HOST/PATH, or - for the standard output",
    )


def add_consume(added: Any) -> ArgumentParser:
    """Add ``bemi consume``."""
    consume = add_subcommand(
        added,
        "consume",
        "write what 'bemi run --to' has published to the log, any number may run; or what Debezium sends",
    )
    consume.add_argument(
        "queue",
        nargs="*",
        metavar="nats://HOST:PORT/STREAM",
        help="(default: BEMI_SINK); with --format debezium also files of JSON Lines, in their order, - for "
        "standard input",
    )
    add_formats(consume)
    consume.add_argument(
        "--until-current", action="store_true", help="exit when everything published so far is written"
    )
    consume.add_argument(
        "--from",
        dest="replayed",
        type=_replayed,
        metavar="TIME",
        help="begin a log in a new destination with what the queue has got since then, or 'start' for all "
        "that it has; a log that has begun in this way goes on",
    )
    consume.add_argument(
        "--baseline",
        action="store_true",
        help="let the log begin with the rows that are there, which the publisher sends; those that have a "
        "change in a log, it leaves out",
    )
    consume.add_argument(
        "--log-format",
        choices=FORMATS,
        help="log to the output in this format (default: text, unless LOGGING of the project has a handler)",
    )
    return consume


def _replayed(text: str) -> Replayed:
    if text == "start":
        return Replayed()
    try:
        # A time zone may take it out of the years that there are.
        since = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        raise ArgumentTypeError("give a time, as '2026-01-31 12:00+00:00', or 'start'") from None
    # The clock of the queue may be another one.
    if since > datetime.now(timezone.utc) + _DAY:
        raise ArgumentTypeError(f"{text} is in the future: the queue has nothing from then on")
    return Replayed(since)


def consume(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    """Write changes until a signal comes or, with ``--until-current``, all is done.

    Args:
        command: The command, for its output.
        database: Alias of a source; its log is written, with the changes of all sources of the queue.
        options: The options of the command line.

    Raises:
        CommandError: No queue is given, or more than one.
        BemiError: An administrator has to do something.
    """
    replayed, is_of_records = options["replayed"], options["format"] == DEBEZIUM
    if options["baseline"] and options["until_current"]:
        raise CommandError("--baseline records rows while consumers go on: leave --until-current out")
    config = worker_config(database)
    if is_of_records:
        if replayed is not None or options["baseline"]:
            raise CommandError("--from and --baseline are for what 'bemi run --to' has published")
        destinations.require_one("records of Debezium are written to one")
        consumer = records_consumer(database, options)
    else:
        require_unused(options, OF_RECORDS, "--format debezium")
        config = config._replace(queue=_address(options["queue"]))
        consumer = Consumer(config, open_session=partial(Consumption, replayed=replayed))
    is_to_end = options["until_current"] or is_of_records and are_files(options)
    with (
        log_to(command.stdout, options["log_format"]),
        stopped_by_signals(consumer.stop),
        # With a queue, 'bemi run' does it.
        anchoring(is_to_end=is_to_end, is_writing=is_of_records),
        recording_baseline(database, config.queue) if options["baseline"] else nullcontext(),
    ):
        consumer.run(until_current=options["until_current"])
    command.stdout.write(consumer.summary)


def _address(given: list[str]) -> QueueAddress:
    if len(given) > 1:
        raise CommandError("give the address of one queue")
    address = sink_address(given[0] if given else None)
    if not isinstance(address, QueueAddress):
        raise CommandError(_NO_QUEUE)
    return address
