"""What ``bemi revert`` and ``bemi blame`` ask and print."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections, models

from bemi_django.exceptions import RevertConflict
from bemi_django.log.blame import blame
from bemi_django.log.lossless_json import dumps
from bemi_django.log.querysets import ChangeQuerySet
from bemi_django.models import Change
from bemi_django.revert import Plan

_WIDEST = 40


def add_revert_arguments(parser: CommandParser) -> None:
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--request", metavar="ID", help="request_id of the context")
    chosen.add_argument("--transaction", metavar="XID", type=int, help="transaction_id of changes")
    chosen.add_argument("--change", metavar="UUID", type=uuid.UUID, help="id of one change")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and touch nothing")
    parser.add_argument(
        "--on-conflict",
        choices=("stop", "skip", "force"),
        default="stop",
        help="leave rows that have a conflict, or overwrite what is in the way (default: stop)",
    )
    parser.add_argument("--no-cascade", action="store_true", help="leave what went with a deleted row")
    parser.add_argument(
        "--noinput", "--no-input", action="store_false", dest="interactive", help="ask nothing"
    )


def revert(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    """Print the plan, conflicts first; ask, and do it. Raises CommandError where conflicts stop it."""
    changes = _chosen(database, options)
    how = {"on_conflict": options["on_conflict"], "cascade": not options["no_cascade"]}
    plan = changes.revert(dry_run=True, **how)
    _print(command, plan)
    if plan.conflicts and options["on_conflict"] != "skip":
        raise CommandError(_refusal(plan))
    if options["dry_run"]:
        return
    if options["interactive"] and not _agreed(database):
        command.stdout.write("nothing was reverted")
        return
    try:
        plan = changes.revert(**how)
    except RevertConflict as error:
        _print(command, error.plan)
        raise CommandError(_refusal(error.plan)) from error
    done = sum(step.is_done for step in plan.steps)
    command.stdout.write(f"{done} rows reverted, {len(plan.conflicts)} skipped")


def instance_of(name: str, database: str) -> models.Model:
    """The object that ``app.Model:key`` names, whether it is still there or not."""
    label, separator, key = name.partition(":")
    try:
        model = apps.get_model(label)
        instance: models.Model = model(pk=_key(model, key))
    except (LookupError, ValueError, TypeError, ValidationError) as error:
        raise CommandError(f"{name}: name an object as app.Model:key, as in auth.User:1 ({error})") from error
    if not separator:
        raise CommandError(f"{name}: the key is missing, as in {label}:1")
    instance._state.db = database
    return instance


def blame_table(instance: models.Model) -> Iterator[str]:
    """Lines of a table: each column, its value and the one before, who, when and in which request."""
    lines = [("column", "value", "before", "user", "when", "request", "operation")]
    for line in blame(instance).values():
        change = line.change
        if change is None:
            origin = "not in the log yet" if line.is_pending else "older than the log"
            lines.append((line.column, _short(line.value), "", "", "", "", origin))
            continue
        before = "" if change.operation == "CREATE" else _short(line.previous)
        when = change.committed_at.isoformat(" ", "seconds")
        who = line.user_id if line.user_id is not None else change.context.get("db_user", "")
        request = str(line.request_id or "")
        lines.append((line.column, _short(line.value), before, str(who), when, request, change.operation))
    if len(lines) == 1:
        raise CommandError("the log knows nothing of it: is the key right, and does 'bemi run' run?")
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    for cells in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _chosen(database: str, options: dict[str, Any]) -> ChangeQuerySet:
    name = connections[database].settings_dict["NAME"]
    changes = Change.objects.filter(database=name)
    if options["request"] is not None:
        changes, what = changes.in_request(options["request"]), f"request {options['request']}"
    elif options["transaction"] is not None:
        changes = changes.in_transaction(options["transaction"])
        what = f"transaction {options['transaction']}"
    else:
        changes, what = changes.filter(pk=options["change"]), f"id {options['change']}"
    if not changes.exists():
        raise CommandError(
            f"no changes of {what} in the log of {name}: is it right, and does 'bemi run' run?"
        )
    return changes


def _print(command: BaseCommand, plan: Plan) -> None:
    for conflict in plan.conflicts:
        command.stdout.write(command.style.ERROR(f"conflict: {conflict}"))
    for step in plan.steps:
        if step.conflict is None:
            command.stdout.write(str(step))


def _refusal(plan: Plan) -> str:
    remedy = "--on-conflict skip leaves these rows as they are"
    if all(conflict.is_forcible for conflict in plan.conflicts):
        remedy += ", --on-conflict force overwrites them"
    count = len(plan.conflicts)
    return f"{count} conflict{'s' if count > 1 else ''}, nothing was reverted: {remedy}"


def _agreed(database: str) -> bool:
    if not sys.stdin.isatty():
        raise CommandError("nothing was reverted: there is nobody to ask, add --noinput")
    return input(f"Revert this in the database {database!r}? Type 'yes' to go on: ") == "yes"


def _key(model: Any, text: str) -> Any:
    fields = getattr(model._meta, "pk_fields", [model._meta.pk])
    if len(fields) == 1:
        return fields[0].to_python(text)
    parts = text.split(",")
    if len(parts) != len(fields):
        raise ValueError(f"the key has {len(fields)} parts")
    return tuple(field.to_python(part) for field, part in zip(fields, parts, strict=True))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else dumps(value)
    text = " ".join(text.split())
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"
