"""``bemi erase``: print the plan, ask, and erase what the log has of an object."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bemi_django import conf
from bemi_django.erasure.erase import erase, erase_keys
from bemi_django.erasure.plan import ErasurePlan, plan_erasure
from bemi_django.events.operator_context import operator_context
from bemi_django.management.archive.archive_command import require
from bemi_django.management.erasure.archived_months import said_of_archived_months
from bemi_django.management.erasure.former_tables import said_of_former_tables
from bemi_django.management.erasure.named_object import object_named
from bemi_django.management.subcommand import INTERRUPTED, add_subcommand
from bemi_django.management.verify_command import watching
from bemi_django.status.units import as_bytes
from bemi_django.status.worker_status import read_worker

_UNKNOWN = "whose rows referred to it then is not known: they are taken for those of the object"


def add_erase(added: Any) -> ArgumentParser:
    """Add ``bemi erase``."""
    parser = add_subcommand(
        added, "erase", "erase the values of an object from the log, but not what happened to it"
    )
    parser.add_argument(
        "object",
        metavar="OBJECT",
        help="app.Model:key, such as shop.Customer:42 (composite keys as 7,2 or JSON); or schema.table:key",
    )
    parser.add_argument("--reason", metavar="TEXT", help="why, for the record; required")
    parser.add_argument(
        "--related",
        nargs="*",
        metavar="TABLE",
        help="also erase the rows that are deleted with it, and those of these tables that refer to it",
    )
    parser.add_argument(
        "--only-keys",
        action="store_true",
        help="delete the key with which its values are encrypted, and leave what is not encrypted",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan, but erase nothing")
    parser.add_argument(
        "--noinput",
        "--no-input",
        action="store_false",
        dest="interactive",
        help="erase without asking for confirmation",
    )
    return parser


def erase_object(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    """Print the plan, ask for confirmation, and erase.

    Args:
        command: The command, for its output.
        database: Alias of the database of the object.
        options: ``object``, ``reason``, ``related``, ``only_keys``, ``dry_run`` and ``interactive`` of the
            command line.

    Raises:
        CommandError: An argument is missing or wrong, or there is no terminal to ask for confirmation.
        BemiError: The plan cannot be carried out.
    """
    if not options["reason"] and not options["dry_run"]:
        raise CommandError("say why, for the record: --reason 'request of 2026-11-28'")
    subject = object_named(options["object"], database)
    plan = plan_erasure(subject, database, related=options["related"], archive=_archive())
    only_keys = options["only_keys"]
    if only_keys and plan.interrupted is not None:
        raise CommandError("an erasure of it was interrupted: go on with it first, without --only-keys")
    for line in plan.said_of_keys():
        command.stdout.write(line)
    is_empty = only_keys or not _print(command, plan)
    for line in said_of_former_tables(() if only_keys else plan.targets, database, "bemi erase"):
        command.stdout.write(line)
    is_searched = not only_keys and (plan.interrupted is not None or plan.archive is not None)
    if is_empty and not plan.subjects and not is_searched:
        raise CommandError(
            "nothing to erase: the log has no values of it; check the key, and that 'bemi run' is running"
        )
    if not only_keys and (queued := read_worker(database).queued_bytes):
        command.stdout.write(
            f"{as_bytes(queued)} of WAL are in the queue and not in the log yet: what they have of it is not "
            "erased; run this again when 'bemi status' shows no queue"
        )
    if options["dry_run"]:
        return
    if options["interactive"] and not _agreed(database):
        command.stdout.write("nothing was erased")
        return
    arguments = {} if options["related"] is None else {"related": options["related"] or True}
    if only_keys:
        arguments["only_keys"] = True
    who = operator_context("bemi erase", arguments, conf.destination(), options["reason"])
    try:
        with watching() as watch:
            found = erase_keys(plan, who) if only_keys else erase(plan, who, watch)
    except KeyboardInterrupt:
        message = "interrupted: the same command goes on with it"
        raise CommandError(message, returncode=INTERRUPTED) from None
    changes = sum(row.changes for row in found)
    command.stdout.write(f"{changes} changes of {len(found)} rows erased")
    if plan.subjects:
        command.stdout.write(f"encryption keys deleted: {len(plan.subjects)}")


def _archive() -> Any:
    """Return the archive that ``BEMI_ARCHIVE`` names, or None."""
    if not conf.archive():
        return None
    require("pyarrow")
    from bemi_django.archive.location import open_location

    return open_location(conf.archive())


def _print(command: BaseCommand, plan: ErasurePlan) -> int:
    """Print the plan, and return the number of changes."""
    if plan.interrupted is not None:
        command.stdout.write("goes on with a run that was interrupted")
    number = 0
    for table in plan.tables():
        command.stdout.write(str(table))
        number += table.changes
    for name, columns in sorted(plan.left.items()):
        command.stdout.write(
            f"{name} refers to it by {', '.join(columns)} and stays; name it after --related to erase it"
        )
    for name, rows in sorted(plan.passed.items()):
        command.stdout.write(
            f"{name}: {rows} of these rows referred to something else, too, or may have; "
            "what they had then stays"
        )
    for rule in plan.held:
        named = ".".join(filter(None, (rule.schema, rule.table))) or "all changes"
        command.stdout.write(f"contexts and dead letters of {named} stay as they are: BEMI_LEGAL_HOLD")
    if plan.held:
        command.stdout.write("so do dead letters whose table is not known: they may be of a held one")
    if plan.archive is not None:
        command.stdout.write(f"and what the archive {plan.archive.name} has of it")
        if plan.asked["related"] is not None:
            command.stdout.write(
                "but not what it has of related rows while they referred to nobody, if the log does not have "
                "the change by which they left it or came to it"
            )
            for line in said_of_archived_months({one.place for one in plan.targets}, _UNKNOWN):
                command.stdout.write(line)
    return number


def _agreed(database: str) -> bool:
    if not sys.stdin.isatty():
        raise CommandError(
            "nothing was erased: confirmation needs a terminal; add --noinput to erase without it"
        )
    return input(f"Erase this from the log of {database!r} for ever? Type 'yes' to continue: ") == "yes"
