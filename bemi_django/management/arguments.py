"""The subcommands of ``bemi`` and their arguments."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandParser
from django.db import connections

from bemi_django.management import verify_command
from bemi_django.management.archive import archive_arguments
from bemi_django.management.baseline import baseline_command, restore_command
from bemi_django.management.erasure import erase_command, rewrap_command, subject_command
from bemi_django.management.log_arguments import as_of, blame, revert
from bemi_django.management.log_output import FORMATS
from bemi_django.management.retention import convert_command, prune_command
from bemi_django.management.subcommand import add_choice_of_log, add_subcommand
from bemi_django.management.worker import consume_command
from bemi_django.wire.lsn import parse_lsn


def add_subcommands(parser: CommandParser) -> None:
    """Add all subcommands to the parser of ``manage.py bemi``."""
    added = parser.add_subparsers(dest="subcommand", title="subcommands", metavar="subcommand")
    for add in (*_FOR_ANY_PROJECT, _handlers, as_of):
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


def _install(added: Any) -> ArgumentParser:
    return add_subcommand(added, "install", "create what recording needs in the source and the destination")


def _uninstall(added: Any) -> ArgumentParser:
    uninstall = add_subcommand(
        added, "uninstall", "stop recording, and remove the log and everything that was installed"
    )
    uninstall.add_argument("--keep-log", action="store_true", help="keep the log, for queries")
    uninstall.add_argument(
        "--dry-run", action="store_true", help="print what would be done, but do not do it"
    )
    uninstall.add_argument(
        "--noinput",
        "--no-input",
        action="store_false",
        dest="interactive",
        help="do not ask at a terminal whether to delete a log that has changes",
    )
    return uninstall


def _run(added: Any) -> ArgumentParser:
    run = add_subcommand(added, "run", "write committed changes to the log and call handlers, until stopped")
    run.add_argument(
        "--until-current", action="store_true", help="exit when everything committed so far is written"
    )
    run.add_argument(
        "--accept-gap", action="store_true", help="if changes were lost, record a gap and continue"
    )
    consume_command.add_destination_of_run(run)
    parts = run.add_mutually_exclusive_group()
    parts.add_argument(
        "--handlers", action="store_true", help="only call handlers; another process writes the log"
    )
    parts.add_argument("--no-handlers", action="store_true", help="only write the log; call no handlers")
    run.add_argument(
        "--all",
        action="store_true",
        help="for all recorded databases in this one process, each with its slot",
    )
    run.add_argument(
        "--metrics",
        metavar="[HOST:]PORT",
        type=_listen,
        help="serve /metrics for Prometheus, /healthz and /readyz there (default host: 127.0.0.1)",
    )
    run.add_argument(
        "--log-format",
        choices=FORMATS,
        help="log to the output in this format (default: text, unless LOGGING of the project has a handler)",
    )
    return run


def _handlers(added: Any) -> ArgumentParser:
    handlers = add_subcommand(added, "handlers", "show the progress of each handler")
    handlers.add_argument(
        "--retry", action="store_true", help="deliver the changes again that were kept aside"
    )
    return handlers


def _sync(added: Any) -> ArgumentParser:
    sync = add_subcommand(
        added, "sync", "bring triggers, replica identity and publication in line with the settings"
    )
    sync.add_argument("--dry-run", action="store_true", help="print what would be done, but do not do it")
    sync.add_argument(
        "--create-slot",
        action="store_true",
        help="also create the replication slot: recording begins now, and not with the first 'bemi run', "
        "before which the server keeps all WAL",
    )
    return sync


def _status(added: Any) -> ArgumentParser:
    status = add_subcommand(
        added, "status", "show how recording is doing; exit with 1 if something has to be done"
    )
    output = status.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print an object of JSON")
    output.add_argument("--quiet", action="store_true", help="print only what has to be done")
    return status


def _doctor(added: Any) -> ArgumentParser:
    doctor = add_subcommand(
        added, "doctor", "find what stops recording, before and after the installation, and its cost"
    )
    doctor.add_argument("--json", action="store_true", help="print an object of JSON")
    return doctor


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


def _retry_dead_letters(added: Any) -> ArgumentParser:
    letters = add_subcommand(
        added, "retry-dead-letters", "read messages again that could not be stored completely"
    )
    letters.add_argument(
        "--dismiss",
        action="store_true",
        help="also remove letters that belong to no change, such as those of invalid contexts",
    )
    letters.add_argument("--reason", metavar="TEXT", help="why they are removed, for the log")
    return letters


def _skip(added: Any) -> ArgumentParser:
    skip = add_subcommand(
        added, "skip", "leave a transaction out of the log that the server cannot send, as a gap"
    )
    skip.add_argument(
        "lsn", metavar="LSN", type=_lsn, help="where the transaction commits, as 'bemi run' has printed it"
    )
    skip.add_argument("--reason", metavar="TEXT", help="why, for the context of the gap")
    return skip


def _listen(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise ArgumentTypeError(f"{text!r} is neither a port nor host:port, such as 0.0.0.0:9464")
    return host.strip("[]") or "127.0.0.1", int(port)


def _lsn(text: str) -> int:
    if not re.fullmatch("[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}", text):
        raise ArgumentTypeError(f"{text!r} is not an LSN, such as 16/B374D848")
    return parse_lsn(text)


def _grants(added: Any) -> ArgumentParser:
    grants = add_subcommand(
        added, "grants", "print the SQL that grants the worker and readers of the log their rights"
    )
    grants.add_argument(
        "--worker", metavar="ROLE", default="bemi_worker", help="role of 'bemi run' (default: bemi_worker)"
    )
    grants.add_argument(
        "--reader",
        metavar="ROLE",
        default="bemi_reader",
        help="role that reads the log (default: bemi_reader)",
    )
    grants.add_argument(
        "--handlers", metavar="ROLE", help="role of 'bemi run --handlers' (default: no such role)"
    )
    grants.add_argument(
        "--owner",
        metavar="ROLE",
        help="role that is to own the log, so that the application can only read it (default: no change)",
    )
    return grants


_FOR_ANY_PROJECT = (
    _run, consume_command.add_consume, _status, _sync, _baseline, _restore_table, _verify, _prune,
    convert_command.add_convert, _retry_dead_letters, _skip, _grants, revert, blame,
    erase_command.add_erase, subject_command.add_subject, rewrap_command.add_rewrap, _doctor,
    _uninstall, archive_arguments.archive, archive_arguments.import_month,
)  # fmt: skip
_STANDALONE = (_install,)
