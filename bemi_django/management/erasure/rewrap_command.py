"""``bemi rewrap-keys``: encrypt the keys of encrypted values with the newest key of the project."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from bemi_django import destinations
from bemi_django.capture.context import bound_context
from bemi_django.encryption.master_keys import MasterKeys
from bemi_django.encryption.rewrapping import rewrap
from bemi_django.events.operator_context import operator_context
from bemi_django.events.recording import emit
from bemi_django.management.subcommand import INTERRUPTED, add_subcommand
from bemi_django.management.verify_command import watching
from bemi_django.mask_rules import encryption_rules

#: The event that says who has encrypted keys anew.
_EVENT = "rewrapped_keys"
_COMMAND = "bemi rewrap-keys"


def add_rewrap(added: Any) -> ArgumentParser:
    """Add ``bemi rewrap-keys``."""
    parser = add_subcommand(
        added, "rewrap-keys", "encrypt the keys of encrypted values with the first of BEMI_ENCRYPTION_KEY"
    )
    parser.add_argument("--reason", metavar="TEXT", help="why, for the log")
    parser.add_argument("--dry-run", action="store_true", help="only count the keys")
    return parser


def rewrap_keys(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    """Encrypt all keys anew, print how many there were, and record who has done it.

    Args:
        command: The command, for its output.
        database: Alias of the source whose log gets the record.
        options: ``reason`` and ``dry_run`` of the command line.

    Raises:
        ImproperlyConfigured: There is no key of the project.
        CommandError: Keys are left that no key of the project decrypts, a process still encrypts with a
            former key, or the command was interrupted.
    """
    keys = encryption_rules().encryption_keys
    if not keys:
        raise ImproperlyConfigured("set BEMI_ENCRYPTION_KEY to a list, the new key first: [new, old]")
    # Of several destinations, the first one has the keys of all, whichever is named.
    dry_run, alias = options["dry_run"], destinations.of_keys()
    if not dry_run:
        # Before anything is done, as it may be interrupted.
        with bound_context(**operator_context(_COMMAND, {}, alias, options["reason"])):
            emit(_EVENT, using=database, outlives_rollback=True)
    try:
        with watching() as watch:
            found = rewrap(alias, MasterKeys(keys), lambda part: watch("keys", part), dry_run=dry_run)
    except KeyboardInterrupt:
        message = "interrupted: the same command goes on with it; until then the old key is needed"
        raise CommandError(message, returncode=INTERRUPTED) from None
    verb = "to be encrypted" if dry_run else "encrypted"
    command.stdout.write(f"keys {verb} anew: {found.done}; with the first key before: {found.present}")
    if found.unreadable:
        raise CommandError(
            f"{found.unreadable} keys are left that no key of BEMI_ENCRYPTION_KEY decrypts: add the former "
            "one to the list"
        )
    if found.late:
        raise CommandError(
            f"{found.late} keys were made with a former key during the run: some process still encrypts with "
            "it. Restart the workers with the new list, run this again, and keep the former key until then"
        )
    if not dry_run:
        command.stdout.write("the other keys of BEMI_ENCRYPTION_KEY are needed by no key of the log any more")
