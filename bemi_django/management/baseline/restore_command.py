"""``bemi restore-table``: rebuild a table that was dropped or emptied."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand

from bemi_django.events.operator_context import operator_context
from bemi_django.management.subcommand import add_reason
from bemi_django.management.worker.configured_worker import worker_config
from bemi_django.restoration.restore import restore_table
from bemi_django.schema.replication.slots import slot_of
from bemi_django.time_travel.moments import parse
from bemi_django.wire import table_name


def add_options(parser: ArgumentParser) -> None:
    """Add the arguments of the subcommand."""
    parser.add_argument("table", metavar="SCHEMA.TABLE", type=_name, help="the table as the log names it")
    parser.add_argument(
        "--at",
        metavar="MOMENT",
        help="when it had the rows: an ISO 8601 datetime, an LSN, a transaction id, or the id of a change "
        "(default: before it was last truncated, or the end of the log)",
    )
    parser.add_argument(
        "--to",
        metavar="SCHEMA.TABLE",
        type=_new_name,
        help="the table to create (default: the name with _restored)",
    )
    add_reason(parser)


def restore(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    """Create a table with the rows of another one, and print how it takes its place.

    Args:
        command: The command, for its output.
        database: Alias of the source.
        options: ``table``, ``at`` and ``to`` of the command line.

    Raises:
        BemiError: The log has no rows of the table, or the new one cannot be created.
    """
    schema, name = options["table"]
    new = options["to"] or (schema, table_name.beside(name, "_restored"))
    moment = None if options["at"] is None else parse(options["at"])
    arguments = {"table": f"{schema}.{name}", "at": options["at"], "to": ".".join(new)}
    context = operator_context("bemi restore-table", arguments, database, options["reason"])
    config = worker_config(database, slot_of(database))
    restored = restore_table(config, (schema, name), new, moment, context)
    for line in restored.report:
        command.stdout.write(line)
    command.stdout.write("look at the new table; to put it in place:")
    for line in restored.swap:
        command.stdout.write(f"    {line}")


def _name(text: str) -> tuple[str, str]:
    found = table_name.split(text)
    if found is None or found.schema is None:
        raise ArgumentTypeError(
            f"{text!r} is not the name of a table with its schema, such as public.shop_order"
        )
    # The server would take the beginning of a longer name, which may be another table.
    if len(found.name.encode("utf-8", "surrogatepass")) > table_name.LONGEST:
        raise ArgumentTypeError(f"{found.name!r} is longer than the {table_name.LONGEST} bytes of a name")
    return found.schema, found.name


def _new_name(text: str) -> tuple[str, str]:
    schema, name = _name(text)
    if table_name.RESERVED.fullmatch(schema):
        raise ArgumentTypeError(f"choose another schema: {schema!r} is reserved")
    return schema, name
