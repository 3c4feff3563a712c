"""``bemi consume --format debezium``: write what Debezium's connector for PostgreSQL sends to the log."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.core.management.base import CommandError

from bemi_django.ingest.debezium.reading.record import Modes
from bemi_django.ingest.debezium.record_consumption import RecordConsumption, RecordSource
from bemi_django.ingest.queue.consumer import Consumer
from bemi_django.management.worker.configured_worker import worker_config

BEMI, DEBEZIUM = "bemi", "debezium"
_DECIMALS = ("precise", "string", "double")
_BINARIES = ("bytes", "base64", "base64-url-safe", "hex")


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
        default=_DECIMALS[0],
        help="decimal.handling.mode of the connector (default: precise)",
    )
    consume.add_argument(
        "--binaries",
        choices=_BINARIES,
        default=_BINARIES[0],
        help="binary.handling.mode of the connector (default: bytes)",
    )


def records_consumer(database: str, options: dict[str, Any]) -> Consumer:
    """Return what consumes the records of Debezium.

    Args:
        database: Alias of the source.
        options: The options of the command line.

    Raises:
        CommandError: Nothing to read is given.
    """
    names = tuple(options["queue"])
    if not names:
        raise CommandError("give the files of Debezium's records, or - for standard input")
    source = RecordSource(names, Modes(options["decimals"], options["binaries"]))
    return Consumer(worker_config(database), open_session=partial(RecordConsumption, source))
