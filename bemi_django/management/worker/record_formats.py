"""``bemi consume --format debezium``: write what Debezium's connector for PostgreSQL sends to the log."""

from __future__ import annotations

import logging
from argparse import ArgumentParser
from collections.abc import Iterable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import CommandError

from bemi_django.events.operator_context import record_command
from bemi_django.exceptions import BemiError
from bemi_django.ingest.debezium.printing.placeholders import Placeholders
from bemi_django.ingest.debezium.reading.record import PLACEHOLDER, Modes
from bemi_django.ingest.debezium.reading.record_files import RecordFiles
from bemi_django.ingest.debezium.reading.record_source import RecordSource
from bemi_django.ingest.debezium.reading.record_stream import EVERYTHING
from bemi_django.ingest.debezium.record_consumption import RecordConsumption
from bemi_django.ingest.queue.consumer import Consumer
from bemi_django.management.worker.configured_worker import worker_config
from bemi_django.sinks.configured import sink_address
from bemi_django.wire.queue_address import QueueAddress

logger = logging.getLogger(__name__)

BEMI, DEBEZIUM = "bemi", "debezium"
_SCHEMES = ("nats://", "tls://")
#: The stream that Debezium Server makes by default.
_STREAM = "DebeziumStream"
_NOTHING = "give the address of a stream, the files of Debezium's records, or - for standard input"
_DECIMALS = ("precise", "string", "double")
_BINARIES = ("bytes", "base64", "base64-url-safe", "hex")
_TIMES = (
    "adaptive",
    "adaptive_time_microseconds",
    "isostring",
    "connect",
    "microseconds",
    "nanoseconds",
)


#: The event that says who lets the log go on where records were lost.
_ACCEPTED = "accepted_gap"
#: The options of ``bemi consume`` that only concern the records of Debezium.
OF_RECORDS = ("decimals", "binaries", "times", "placeholder", "complete", "subject", "accept_gap", "reason")


def add_formats(consume: ArgumentParser) -> None:
    """Add the options of formats to ``bemi consume``."""
    consume.add_argument(
        "--format",
        choices=(BEMI, DEBEZIUM),
        default=BEMI,
        help="what is read: the chunks of 'bemi run --to' (default), or the records of Debezium",
    )
    consume.add_argument(
        "--decimals",
        choices=_DECIMALS,
        help="decimal.handling.mode of the connector (default: precise)",
    )
    consume.add_argument(
        "--binaries",
        choices=_BINARIES,
        help="binary.handling.mode of the connector (default: bytes)",
    )
    consume.add_argument(
        "--times",
        choices=_TIMES,
        help="time.precision.mode of the connector (default: adaptive)",
    )
    consume.add_argument(
        "--placeholder",
        metavar="TEXT",
        help=f"unavailable.value.placeholder of the connector (default: {PLACEHOLDER})",
    )
    consume.add_argument(
        "--complete",
        action="store_true",
        help="no more records will come after those of the files: their last transaction is over",
    )
    consume.add_argument(
        "--subject",
        action="append",
        help="a subject of the stream to which Debezium writes, * and > are wildcards; may be given several "
        "times (default: all)",
    )
    consume.add_argument(
        "--accept-gap",
        action="store_true",
        help="go on where the stream has removed records of Debezium that were not read, or where the source "
        "was promoted or restored; the log records who did it",
    )
    consume.add_argument("--reason", metavar="TEXT", help="why a gap is accepted, for the log")


def records_consumer(database: str, options: dict[str, Any]) -> Consumer:
    """Return what consumes the records of Debezium.

    Args:
        database: Alias of the source.
        options: The options of the command line.

    Raises:
        CommandError: Nothing to read is given, or an option that is not for it.
    """
    given, config = list(options["queue"]), worker_config(database)
    placeholder = options["placeholder"] or PLACEHOLDER
    try:
        Placeholders(placeholder)
    except ValueError:
        raise CommandError("--placeholder: hex: is followed by hexadecimal digits") from None
    modes = Modes(
        options["decimals"] or _DECIMALS[0],
        options["binaries"] or _BINARIES[0],
        placeholder,
        options["times"] or _TIMES[0],
    )
    if are_files(options):
        require_unused(options, ("subject",), "a stream")
        source = RecordSource(RecordFiles(given), modes=modes, is_complete=options["complete"])
    else:
        if len(given) > 1:
            raise CommandError("give the address of one stream, or files")
        require_unused(options, ("complete",), "files")
        config = config._replace(queue=_address(given))
        source = RecordSource(subjects=tuple(options["subject"] or [EVERYTHING]), modes=modes)
    if options["accept_gap"]:
        source = source._replace(accept=partial(record_gap, database, options["reason"]))
    return Consumer(config, open_session=partial(RecordConsumption, source))


def record_gap(database: str, reason: str | None, lost: str) -> None:
    """Record who lets the log go on where something was lost.

    Args:
        database: Alias of the source.
        reason: Why, in the person's words.
        lost: What was lost.
    """
    arguments = {"format": DEBEZIUM, "accept_gap": True}
    try:
        record_command(_ACCEPTED, {"lost": lost}, "bemi consume", arguments, database, reason)
    except BemiError as error:
        # Debezium may read a standby, which events cannot be written to.
        logger.warning("who accepts the gap is not recorded: %s", error)


def are_files(options: dict[str, Any]) -> bool:
    """Return whether records are read from files, and not from a stream."""
    given = options["queue"]
    return bool(given) and not given[0].startswith(_SCHEMES)


def require_unused(options: dict[str, Any], names: Iterable[str], meant: str) -> None:
    """Refuse options that would be ignored.

    Args:
        options: The options of the command line.
        names: Those that must not be given.
        meant: What they are for.

    Raises:
        CommandError: One of them is given.
    """
    for name in names:
        if options[name]:
            raise CommandError(f"--{name.replace('_', '-')} is for {meant}")


def _address(given: list[str]) -> QueueAddress:
    address = sink_address(given[0] if given else None)
    if not isinstance(address, QueueAddress):
        raise CommandError(_NOTHING)
    if given and not urlsplit(given[0]).path.strip("/"):
        return address._replace(stream=_STREAM)
    return address
