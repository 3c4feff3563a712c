"""The subcommands of ``bemi`` and their arguments."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandParser
from django.db import connections

from bemi_django.management import recording_arguments, verify_command
from bemi_django.management.archive import archive_arguments
from bemi_django.management.baseline import baseline_command, restore_command
from bemi_django.management.erasure import erase_command, rewrap_command, subject_command
from bemi_django.management.log_arguments import as_of, blame, revert
from bemi_django.management.retention import convert_command, prune_command
from bemi_django.management.subcommand import add_choice_of_log, add_subcommand
from bemi_django.management.worker import consume_command, worker_arguments


def add_subcommands(parser: CommandParser) -> None:
    """Add all subcommands to the parser of ``manage.py bemi``."""
    added = parser.add_subparsers(dest="subcommand", title="subcommands", metavar="subcommand")
    for add in (*_FOR_ANY_PROJECT, worker_arguments.handlers, as_of):
        subcommand = add(added)
        add_choice_of_log(subcommand)
        subcommand.add_argument(
            "--database",
            default="default",
            choices=tuple(connections),
            help="alias of the database whose changes are meant (default: default)",
        )


def add_standalone_subcommands(
    parser: CommandParser, add_arguments: Callable[[ArgumentParser], None]
) -> None:
    """Add the subcommands that need no Django models.

    Args:
        parser: The parser of ``bemi``.
        add_arguments: Adds the arguments that all subcommands have.
    """
    added = parser.add_subparsers(dest="subcommand", title="subcommands", metavar="subcommand")
    for add in (*_STANDALONE, *_FOR_ANY_PROJECT):
        subcommand = add(added)
        subcommand.set_defaults(database="default")
        add_arguments(subcommand)


def _verify(added: Any) -> ArgumentParser:
    verify = add_subcommand(added, "verify", "compare the log with the tables, row by row")
    verify.add_argument(
        "tables", nargs="*", metavar="SCHEMA.TABLE", help="compare only these tables (default: all)"
    )
    verify_command.add_options(verify)
    return verify


def _baseline(added: Any) -> ArgumentParser:
    baseline = add_subcommand(added, "baseline", "record rows that are older than the log, as they are now")
    baseline.add_argument(
        "tables", nargs="*", metavar="SCHEMA.TABLE", help="only of these tables (default: all)"
    )
    baseline_command.add_options(baseline)
    return baseline


def _restore_table(added: Any) -> ArgumentParser:
    restore = add_subcommand(
        added, "restore-table", "rebuild a table that was dropped or truncated into a new one, from the log"
    )
    restore_command.add_options(restore)
    return restore


def _prune(added: Any) -> ArgumentParser:
    prune = add_subcommand(added, "prune", "remove from the log what BEMI_RETENTION does not keep")
    prune_command.add_options(prune)
    return prune


_FOR_ANY_PROJECT = (
    worker_arguments.run, consume_command.add_consume, recording_arguments.status, recording_arguments.sync,
    _baseline, _restore_table, _verify, _prune, convert_command.add_convert,
    worker_arguments.retry_dead_letters, worker_arguments.skip, recording_arguments.grants, revert, blame,
    erase_command.add_erase, subject_command.add_subject, rewrap_command.add_rewrap,
    recording_arguments.doctor, recording_arguments.uninstall,
    archive_arguments.archive, archive_arguments.import_month,
)  # fmt: skip
_STANDALONE = (recording_arguments.install,)
