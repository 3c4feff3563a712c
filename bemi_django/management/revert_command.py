"""``bemi revert``: print the plan, ask, and revert."""

from __future__ import annotations

import sys
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from bemi_django import destinations
from bemi_django.capture.context import bound_context
from bemi_django.events.operator_context import operator_context
from bemi_django.exceptions import BemiError, PlanChanged, RevertConflict
from bemi_django.log.change import ChangeQuerySet
from bemi_django.log.querysets.changes_everywhere import ChangesEverywhere
from bemi_django.management.reading.disclosed_reading import record_reading
from bemi_django.models import Change
from bemi_django.revert import Plan
from bemi_django.revert import revert as revert_changes
from bemi_django.schema.database_names import database_name


def revert(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    """Print the plan, conflicts first, ask for confirmation, and revert.

    Args:
        command: The command, for its output.
        database: Alias of the database to revert in.
        options: ``request``, ``transaction`` or ``change``, ``on_conflict``, ``no_cascade``, ``fields``,
            ``dry_run``, ``interactive`` and ``reason`` of the command line.

    Raises:
        CommandError: If no change is found, if no row has the fields, if conflicts prevent the revert, or if
            there is no terminal to ask for confirmation.
    """
    changes = _chosen(database, options)
    how: dict[str, Any] = {"on_conflict": options["on_conflict"], "cascade": not options["no_cascade"]}
    fields = options["fields"]
    try:
        plan = revert_changes(changes, dry_run=True, fields=fields, **how)
        # With fields, what is confirmed is still the plan of all of them.
        confirmed = plan if fields is None else revert_changes(changes, dry_run=True, **how)
    except BemiError as error:
        raise CommandError(str(error)) from error
    _print(command, plan)
    is_wanted = False
    try:
        if plan.conflicts and options["on_conflict"] != "skip":
            raise CommandError(_refusal(plan))
        if not options["dry_run"]:
            is_wanted = not options["interactive"] or _agreed(database)
    finally:
        if not is_wanted:
            # The plan has values of rows, and no write will say who has read it.
            record_reading(command, "bemi revert", _given(options), database, options["reason"])
    if not is_wanted:
        if not options["dry_run"]:
            command.stdout.write("nothing was reverted")
        return
    try:
        with bound_context(**_operator(database, options)):
            digest = confirmed.digest if options["interactive"] else None
            plan = revert_changes(changes, **how, fields=fields, digest=digest)
    except RevertConflict as error:
        _print(command, error.plan)
        raise CommandError(_refusal(error.plan)) from error
    except PlanChanged as error:
        _print(command, error.plan)
        raise CommandError(
            "nothing was reverted: the rows have changed in the meantime, see the new plan"
        ) from error
    done = sum(step.is_done for step in plan.steps)
    command.stdout.write(f"{done} rows reverted, {len(plan.conflicts)} skipped")


def _operator(database: str, options: dict[str, Any]) -> dict[str, Any]:
    return operator_context("bemi revert", _given(options), database, options["reason"])


def _given(options: dict[str, Any]) -> dict[str, Any]:
    names = ("request", "transaction", "change", "on_conflict", "no_cascade", "fields")
    given = {name: options[name] for name in names if options[name] not in (None, False, "stop")}
    return {name: str(value) if isinstance(value, UUID) else value for name, value in given.items()}


def _chosen(database: str, options: dict[str, Any]) -> ChangeQuerySet | ChangesEverywhere:
    name = database_name(database)
    changes = _log_of(name).filter(database=name)
    if options["request"] is not None:
        changes, what = changes.in_request(options["request"]), f"request {options['request']}"
    elif options["transaction"] is not None:
        changes = changes.in_transaction(options["transaction"])
        what = f"transaction {options['transaction']}"
    else:
        changes, what = changes.filter(pk=options["change"]), f"id {options['change']}"
    if not changes.exists():
        raise CommandError(
            f"the log of {name} has no changes of {what}: check the id, and that 'bemi run' is running"
        )
    return changes


def _log_of(database: str) -> ChangeQuerySet | ChangesEverywhere:
    # What was changed together may be in several destinations.
    is_divided = not destinations.is_chosen() and len(destinations.of_database(database)) > 1
    return Change.objects.everywhere() if is_divided else Change.objects.all()


def _print(command: BaseCommand, plan: Plan) -> None:
    for conflict in plan.conflicts:
        command.stdout.write(f"conflict: {conflict}", command.style.ERROR)
    for step in plan.steps:
        if step.conflict is None:
            command.stdout.write(str(step))
    for pruned in plan.pruned:
        command.stdout.write(str(pruned), command.style.WARNING)


def _refusal(plan: Plan) -> str:
    remedy = "--on-conflict skip leaves these rows as they are"
    if all(conflict.is_forcible for conflict in plan.conflicts):
        remedy += ", --on-conflict force overwrites them"
    count = len(plan.conflicts)
    return f"{count} conflict{'s' if count > 1 else ''}, nothing was reverted; {remedy}"


def _agreed(database: str) -> bool:
    if not sys.stdin.isatty():
        raise CommandError(
            "nothing was reverted: confirmation needs a terminal; add --noinput to revert without it"
        )
    return input(f"Revert this in the database {database!r}? Type 'yes' to continue: ") == "yes"
