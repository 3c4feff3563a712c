"""The subcommands that install, adapt, examine and remove recording, and their arguments."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from bemi_django.management.subcommand import add_reason, add_subcommand
from bemi_django.wire.table_name import LONGEST

# What is no name, and what the server keeps for other things.
_NO_ROLES = ("", "none", "public")


def install(added: Any) -> ArgumentParser:
    """Add ``bemi install``."""
    install = add_subcommand(
        added, "install", "create what recording needs in the source and the destination"
    )
    add_reason(install)
    return install


def uninstall(added: Any) -> ArgumentParser:
    """Add ``bemi uninstall``."""
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
    add_reason(uninstall)
    return uninstall


def sync(added: Any) -> ArgumentParser:
    """Add ``bemi sync``."""
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
    add_reason(sync)
    return sync


def grants(added: Any) -> ArgumentParser:
    """Add ``bemi grants``."""
    grants = add_subcommand(
        added, "grants", "print the SQL that grants the worker and readers of the log their rights"
    )
    grants.add_argument(
        "--worker",
        metavar="ROLE",
        type=_role,
        default="bemi_worker",
        help="role of 'bemi run' (default: bemi_worker)",
    )
    grants.add_argument(
        "--reader",
        metavar="ROLE",
        type=_role,
        default="bemi_reader",
        help="role that reads the log (default: bemi_reader)",
    )
    grants.add_argument(
        "--handlers", metavar="ROLE", type=_role, help="role of 'bemi run --handlers' (default: no such role)"
    )
    grants.add_argument(
        "--owner",
        metavar="ROLE",
        type=_role,
        help="role that is to own the log, so that the application can only read it (default: no change)",
    )
    return grants


def status(added: Any) -> ArgumentParser:
    """Add ``bemi status``."""
    status = add_subcommand(
        added, "status", "show how recording is doing; exit with 1 if something has to be done"
    )
    output = status.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print an object of JSON")
    output.add_argument("--quiet", action="store_true", help="print only what has to be done")
    return status


def doctor(added: Any) -> ArgumentParser:
    """Add ``bemi doctor``."""
    doctor = add_subcommand(
        added, "doctor", "find what stops recording, before and after the installation, and its cost"
    )
    doctor.add_argument("--json", action="store_true", help="print an object of JSON")
    return doctor


def _role(text: str) -> str:
    # The server would cut a longer name to that of another role.
    if text in _NO_ROLES or len(text.encode("utf-8", "surrogatepass")) > LONGEST:
        raise ArgumentTypeError(f"{text!r} cannot be the name of a role")
    return text
