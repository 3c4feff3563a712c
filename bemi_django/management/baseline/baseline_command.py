"""``bemi baseline``: record rows that are older than the log, and show the progress on a terminal."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bemi_django import destinations
from bemi_django.baseline.baseline import RANGE_ROWS, BaselineOptions, baseline
from bemi_django.events.operator_context import operator_context
from bemi_django.management.baseline.named_sink import NamedSink, sink_of
from bemi_django.management.subcommand import INTERRUPTED, add_reason
from bemi_django.management.verify_command import watching
from bemi_django.management.worker.configured_worker import worker_config
from bemi_django.masking.contexts import MASK
from bemi_django.masking.sql_literals import redact_literals
from bemi_django.schema.database_names import about
from bemi_django.sinks.configured import sink_address
from bemi_django.status.worker_status import NOT_RUNNING, read_worker

#: The fewest rows in a second: one in seventeen minutes.
_SLOWEST = 0.001
#: The most rows of a range: the worker holds them in memory.
_MOST = 10_000


def add_options(parser: ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument(
        "--where",
        metavar="SQL",
        default="",
        help="record only rows of the one table for which this SQL is true; other names than columns need "
        "their schema",
    )
    parser.add_argument(
        "--to",
        metavar="ADDRESS",
        default="",
        help="give all rows to the sink that 'bemi run --to ADDRESS' writes, or to all logs of a queue, "
        "nats://..., which leave out those that they know (default: the log gets those that have no change "
        "in it)",
    )
    parser.add_argument(
        "--anew", action="store_true", help="read rows again that were read by an earlier run"
    )
    parser.add_argument(
        "--range",
        metavar="ROWS",
        type=_rows,
        default=RANGE_ROWS,
        help=f"how many rows to read in one transaction (default: {RANGE_ROWS})",
    )
    parser.add_argument(
        "--rate", metavar="ROWS", type=_rate, default=0.0, help="read at most so many rows in a second"
    )
    add_reason(parser)


def record(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    """Record the rows of tables and print what was done with each.

    Args:
        command: The command, for its output.
        database: Alias of the source.
        options: ``tables``, ``where``, ``to``, ``anew``, ``range`` and ``rate`` of the command line.

    Raises:
        CommandError: A table could not be read to its end; the exit status is 1.
        BemiError: A table is not tracked.
    """
    slot, sink = _sink(database, options["to"])
    if options["where"] and len(options["tables"]) != 1:
        raise CommandError("--where is a condition on the rows of one table: name that table")
    # Whoever may read the log need not see the values that choose rows.
    given = {"tables": options["tables"], "where": redact_literals(options["where"], MASK)}
    arguments = {name: value for name, value in given.items() if value}
    if not options["to"] and read_worker(database).state == NOT_RUNNING:
        line = "no worker is running, and rows are recorded by one: start 'manage.py bemi run'"
        command.stderr.write(about(database, line))
    failed = total = 0
    try:
        with watching() as watch:
            chosen = BaselineOptions(
                only=options["tables"],
                condition=options["where"],
                anew=options["anew"],
                rows=options["range"],
                rate=options["rate"],
                context=operator_context("bemi baseline", arguments, database, options["reason"]),
                watch=watch,
                sink=sink,
            )
            for result in baseline(worker_config(database, slot), chosen):
                total += 1
                failed += bool(result.failure)
                watch(result.table, 1.0)
                command.stdout.write(str(result))
    except KeyboardInterrupt:
        message = "interrupted: the same command continues"
        raise CommandError(message, returncode=INTERRUPTED) from None
    if failed:
        raise CommandError(f"{failed} of {total} tables were not read to their end")


def _sink(database: str, to: str) -> NamedSink:
    """Return what is to get the rows, and the slot whose worker writes them there."""
    if not to:
        destinations.require_one("'bemi baseline' asks only one which rows it has: add --to nats://...")
    return sink_of(database, sink_address(to) if to else None)


def _rows(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise ArgumentTypeError(f"{text!r} is not a number of rows from 1 to {_MOST}")
    return int(text)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not _SLOWEST <= rate < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a number of rows, {_SLOWEST} or more")
    return rate
