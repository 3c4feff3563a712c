"""``bemi subject``: write what the log has of a person to files, and record who has had it written."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bemi_django.disclosure.disclosed import Disclosure
from bemi_django.disclosure.export import export
from bemi_django.events.operator_context import record_command
from bemi_django.management.erasure.archived_months import said_of_archived_months
from bemi_django.management.erasure.former_tables import said_of_former_tables
from bemi_django.management.erasure.named_object import object_named
from bemi_django.management.subcommand import add_reason, add_subcommand

_COMMAND = "bemi subject"
_LACKING = "what they have of it is not among this"


def add_subject(added: Any) -> ArgumentParser:
    """Add ``bemi subject``."""
    parser = add_subcommand(added, "subject", "write all that the log has of a person to files")
    parser.add_argument(
        "object",
        metavar="OBJECT",
        help="app.Model:key, such as shop.Customer:42 (composite keys as 7,2 or JSON); or schema.table:key",
    )
    parser.add_argument(
        "--export",
        metavar="DIR|FILE",
        required=True,
        type=Path,
        help="where to write subject.json and subject.html; or a file with one of these suffixes",
    )
    parser.add_argument(
        "--related",
        nargs="*",
        metavar="TABLE",
        default=(),
        help="also rows of these tables that refer to it; those that are deleted with it always are",
    )
    add_reason(parser)
    return parser


def export_subject(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    """Write what the log has of an object, and record it as an event of the object.

    Args:
        command: The command, for its output.
        database: Alias of the database of the object.
        options: ``object``, ``export``, ``related`` and ``reason`` of the command line.

    Raises:
        CommandError: The log has no changes of such an object.
        BemiError: A file cannot be written, or it cannot be recorded who has it written.
    """
    disclosure = Disclosure(object_named(options["object"], database), database, options["related"])
    archived = list(said_of_archived_months({one.place for one in disclosure.targets}, _LACKING))
    if disclosure.is_empty:
        message = "the log has no changes of it: check the key, and that 'bemi run' is running"
        raise CommandError("\n".join([message, *archived]))

    def record(number: int) -> None:
        details, reason = {"changes": number}, options["reason"]
        record_command("disclosed", details, _COMMAND, {}, database, reason, disclosure.subject)

    # Nobody gets it without a record of that.
    paths, number = export(disclosure, options["object"], options["export"], record)
    for line in (*said_of_former_tables(disclosure.targets, database, _COMMAND), *archived):
        command.stdout.write(line)
    command.stdout.write(f"{number} changes written to {' and '.join(map(str, paths))}")
