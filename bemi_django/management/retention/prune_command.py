"""``bemi prune``: remove from the log what ``BEMI_RETENTION`` does not keep."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bemi_django import conf
from bemi_django.events.operator_context import operator_context
from bemi_django.retention.months import note_lost
from bemi_django.retention.pruning import Pruned, due, prune


def add_options(parser: ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be removed, but do not remove it"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--reason", metavar="TEXT", help="why, for the record")


def remove(command: BaseCommand, options: dict[str, Any]) -> None:
    """Prune the log, or print what would be removed.

    Args:
        command: The command, for its output.
        options: ``dry_run`` and ``json`` of the command line.

    Raises:
        CommandError: Something was not removed that could be; the exit status is 1.
        BemiError: A setting is wrong, the owner of the log has not allowed this, or there is no log.
    """
    alias = conf.destination()
    if options["dry_run"]:
        _print_due(command, alias, is_json=options["json"])
        return
    lost = note_lost(alias)
    found = prune(alias, operator_context("bemi prune", {}, alias, options["reason"]))
    if options["json"]:
        command.stdout.write(json.dumps(found._asdict(), indent=2))
    else:
        for month in lost:
            command.stdout.write(f"{month}: noted as gone, because it was detached or dropped by hand")
        for line in _lines(found):
            command.stdout.write(line)
    if found.stopped:
        raise CommandError("\n".join(found.stopped))


def _print_due(command: BaseCommand, alias: str, *, is_json: bool) -> None:
    found = list(due(alias))
    if is_json:
        command.stdout.write(json.dumps([each._asdict() for each in found], indent=2))
        return
    for each in found:
        name = f"{each.schema}.{each.table}" if each.table else "gaps"
        what = f"{each.changes} changes of {name}" if each.changes else "an empty month, which is dropped"
        command.stdout.write(f"{each.month}: {what}")
    if not found:
        command.stdout.write("nothing to do")


def _lines(found: Pruned) -> Iterator[str]:
    if found.months:
        yield f"dropped {', '.join(found.months)}"
    if found.changes or not found.months:
        nothing = "nothing removed" if found.stopped else "nothing to do"
        yield f"{found.changes} changes removed" if found.changes else nothing
