"""``bemi as-of``: run another command in the past, and record who has looked at it."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from bemi_django.management.log_arguments import IGNORE_POLICIES
from bemi_django.management.reading.disclosed_reading import record_reading
from bemi_django.time_travel import as_of
from bemi_django.time_travel.moments import parse


def run_as_of(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    """Run a command that only reads, on the database as it was at a moment.

    Args:
        command: The command, for its output.
        database: Alias of the database.
        options: ``moment``, ``arguments``, ``ignore_policies`` and ``reason`` of the command line.

    Raises:
        CommandError: No command is given.
        BemiError: The database cannot be shown as of the moment.
    """
    given = list(options["arguments"])
    # Behind the moment, argparse takes it for a part of the command.
    is_behind = given[:1] == [IGNORE_POLICIES]
    given = given[is_behind:]
    name, *arguments = given[given[:1] == ["--"] :] or [""]
    if not name:
        raise CommandError("no command given: add one after --, such as: -- dumpdata app.Model")
    if database != "default":
        arguments.append(f"--database={database}")
    ignore_policies = is_behind or options["ignore_policies"]
    with as_of(parse(options["moment"]), using=database, ignore_policies=ignore_policies):
        # Behind the snapshot, which the log has to reach.
        details = {"moment": options["moment"], "command": name}
        record_reading(command, "bemi as-of", details, database, options["reason"])
        # Not self.stdout, which would end each piece of the command's output with a line feed.
        call_command(name, *arguments, stdout=options.get("stdout"), stderr=options.get("stderr"))
