"""``bemi sync``: bring a source in line with the settings, and record who has done it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bemi_django.events.operator_context import record_command, record_sync
from bemi_django.management.slot_command import create_slot
from bemi_django.schema import coverage, tracking
from bemi_django.schema.names.unreadable_names import remedy
from bemi_django.wire.lsn import format_lsn

_COMMAND = "bemi sync"
_UNFOLLOWED = (
    "no event triggers: this role may not create them, so new and altered tables are noticed by migrate and "
    "bemi sync only. Run bemi sync once as a role that may"
)


def sync(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    """Bring a source in line with the settings, and print what was done.

    Args:
        command: The command, for its output.
        database: Alias of the source.
        options: ``dry_run``, ``create_slot`` and ``reason`` of the command line.

    Raises:
        CommandError: Not everything could be done.
        BemiError: The slot cannot be created.
    """
    dry_run, reason = options["dry_run"], options["reason"]
    done: list[str] = []
    form = "to do: {}" if dry_run else "{}"

    def report(line: str) -> None:
        done.append(line)
        command.stdout.write(form.format(line))

    is_slot_new = False
    try:
        outcome = tracking.sync(database, dry_run=dry_run, report=report)
        if outcome.failed:
            raise CommandError("\n".join(filter(None, ["not done:", *outcome.failed, remedy(database)])))
        if options["create_slot"]:
            is_slot_new = _create_slot(command, database, dry_run, reason)
    finally:
        # Behind the slot, which does not have what was written before it. Also if it was interrupted.
        if not dry_run:
            record_sync(done, _COMMAND, database, reason)
    is_followed = coverage.has_event_triggers(database) or any(map(_is_event_trigger, done))
    if not is_followed:
        command.stdout.write(_UNFOLLOWED)
    elif not done and not is_slot_new:
        command.stdout.write("nothing to do")
    command.stdout.write(coverage.summary(coverage.read_coverage(database)))


def _is_event_trigger(line: str) -> bool:
    return line.startswith("event trigger: ")


def _create_slot(command: BaseCommand, database: str, dry_run: bool, reason: str | None) -> bool:
    made = create_slot(command, database, dry_run=dry_run)
    if made is not None and not dry_run:
        details = {"slot": made.name, "from": format_lsn(made.lsn)}
        record_command("created_slot", details, _COMMAND, {"create_slot": True}, database, reason)
    return made is not None
