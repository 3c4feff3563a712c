"""``bemi convert``: bring the changes of another table into the log."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bemi_django import conf
from bemi_django.events.operator_context import record_command
from bemi_django.management.subcommand import INTERRUPTED, add_reason, add_subcommand
from bemi_django.management.verify_command import watching
from bemi_django.retention.conversion import Converter


def add_convert(added: Any) -> ArgumentParser:
    """Add ``bemi convert``."""
    parser = add_subcommand(added, "convert", "bring the changes of another table into the log")
    parser.add_argument("table", metavar="SCHEMA.TABLE", help="the table, in the database of the log")
    parser.add_argument(
        "--batch", metavar="ROWS", type=_rows, default=5000, help="copy so many at a time (default: 5000)"
    )
    parser.add_argument(
        "--rate", metavar="ROWS", type=_rows, default=0, help="copy at most so many in a second"
    )
    parser.add_argument(
        "--anew", action="store_true", help="look again at changes that an earlier run has copied"
    )
    parser.add_argument(
        "--drop",
        action="store_true",
        help="then compare the whole table with the log once more, and drop it if the log has all of it",
    )
    add_reason(parser)
    return parser


def convert(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    """Convert a table, print how many of its changes the log has, and record who has done it.

    Args:
        command: The command, for its output.
        database: Alias of the source whose log records it.
        options: ``table``, ``batch``, ``rate``, ``anew`` and ``drop`` of the command line.

    Raises:
        CommandError: It was interrupted.
        BemiError: The table is none of changes, or the log has other changes with the same ids.
    """
    converter = Converter(conf.destination(), options["table"], options["anew"])
    before = converter.standing.changes
    try:
        with watching() as watch:
            converter.convert(options["batch"], options["rate"], watch)
            if options["drop"]:
                converter.drop(options["batch"], watch)
            watch(converter.name, 1.0)
    except KeyboardInterrupt:
        message = "interrupted: the same command continues"
        raise CommandError(message, returncode=INTERRUPTED) from None
    if converter.standing.changes > before or options["drop"]:
        details = {"table": converter.name, "changes": converter.standing.changes - before}
        arguments = {"drop": options["drop"]}
        record_command("converted_changes", details, "bemi convert", arguments, database, options["reason"])
    end = "; the table was dropped" if options["drop"] else ""
    command.stdout.write(f"{converter.name}: the log has its {converter.standing.changes:,} changes{end}")


def _rows(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise ArgumentTypeError(f"{text!r} is not a number of rows from 1 to 1000000")
    return int(text)
