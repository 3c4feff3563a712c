"""``bemi uninstall``: stop recording, and remove what recording has needed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections

from bemi_django import conf
from bemi_django.events.operator_context import operator_context, record_command
from bemi_django.exceptions import IsStandby, first_line
from bemi_django.ingest.stream.ending import record_end
from bemi_django.management.unapplied_migrations import unapply
from bemi_django.management.worker.configured_worker import worker_config
from bemi_django.schema import computation, installed
from bemi_django.schema.removal import dependents, installation, remains
from bemi_django.schema.replication.slots import slot_of
from bemi_django.schema.sql import Installer

_APP = "bemi_django"
_NAMES = {
    "django": "the migrations of a Django project ('manage.py bemi uninstall')",
    "alembic": "an Alembic revision (downgrade it)",
    "bemi": "'bemi install' ('bemi uninstall')",
}
_COMMAND = "bemi uninstall"
_Report = Callable[[str], object]
_CHECKPOINTS = "SELECT slot FROM _bemi.checkpoint"


class _Work(NamedTuple):
    """What to do: in which databases, for whom, whether the log stays and why; and whether only to print.

    ``kept_because`` is None if the log does not stay; ``reason`` is for the log.
    """

    source: str
    aliases: Sequence[str]
    installers: Sequence[Installer]
    kept_because: str | None
    dry_run: bool
    reason: str | None

    @property
    def without_log(self) -> Sequence[str]:
        """The databases whose log does not stay."""
        return self.aliases if self.kept_because is None else ()


def uninstall(
    command: BaseCommand, source: str, options: dict[str, Any], installers: Sequence[Installer]
) -> None:
    """Remove what is installed for a source, and print what was done and what is left.

    It can be interrupted and run again.

    Args:
        command: The command, for its output.
        source: Alias of the source.
        options: ``keep_log``, ``dry_run``, ``reason`` and ``interactive`` of the command line.
        installers: Those who need the installation no longer.

    Raises:
        BemiError: Objects of others depend on the log.
        CommandError: A worker reads the slot, or something is locked or in use by others.
        DatabaseError: The installation belongs to another role.
        IsStandby: The server is a standby.
    """
    if installed.is_standby(source):
        raise IsStandby
    installation.require_owner(source)
    work = _work(source, options, installers)
    for alias in work.aliases:
        installation.require_owner(alias)
    if needed := _others(work):
        _step_back(command, work, needed)
        return
    slots = remains.slots_of(source)
    if reading := [slot for slot in slots if slot.reader is not None]:
        name, process = reading[0]
        line = f"a worker reads the slot {name} (process {process}): stop 'manage.py bemi run'"
        if not work.dry_run:
            raise CommandError(f"{line}, then run this again")
        command.stdout.write(f"{line} first")
    dependents.report(work.without_log, command.stdout.write, is_refused=not work.dry_run)
    if not work.dry_run and options["interactive"] and not _agreed(work):
        command.stdout.write("nothing was removed")
        return
    left = list(remains.rights_of_others(work.aliases)) if work.kept_because is None else []
    try:
        is_anything = _remove(command, work, slots, left)
    except DatabaseError as error:
        raise CommandError(
            f"not everything was removed: {first_line(error)}; remove the cause, then run this again"
        ) from error
    for line in left:
        command.stdout.write(f"left: {line}")
    if not is_anything:
        command.stdout.write("nothing to do")
    elif not work.dry_run:
        command.stdout.write("uninstalled" + _hint(installers))


def _work(source: str, options: dict[str, Any], installers: Sequence[Installer]) -> _Work:
    destination = conf.destination()
    users = _other_sources(source)
    kept_because = "--keep-log" if options["keep_log"] else None
    if users:
        kept_because = f"changes of {', '.join(users)} are recorded in it"
    aliases = [source] if users or destination == source else [source, destination]
    return _Work(source, aliases, installers, kept_because, options["dry_run"], options["reason"])


def _other_sources(source: str) -> list[str]:
    """Return the aliases of other sources whose changes are recorded in the same log."""
    destination = conf.destination()
    with connections[destination].cursor() as cursor:
        known: set[str] = set()
        if installed.has(cursor, "partition_v1"):
            cursor.execute(_CHECKPOINTS)
            known = {slot for (slot,) in cursor.fetchall()} - {slot_of(source)}
    return [
        alias
        for alias in connections
        if alias != source
        and conf.is_source(alias)
        and (alias == destination or known and slot_of(alias) in known and _has_slot(alias))
    ]


def _has_slot(alias: str) -> bool:
    return slot_of(alias) in {slot.name for slot in remains.slots_of(alias)}


def _others(work: _Work) -> list[str]:
    found = {installer for alias in work.aliases for installer in installation.installers_of(alias)}
    return sorted(found - set(work.installers))


def _step_back(command: BaseCommand, work: _Work, needed: Sequence[str]) -> None:
    """Only remember that these installers need nothing any more, and who has said so."""
    if not work.dry_run:
        details = {"goes_on_for": list(needed)}
        record_command("uninstalled", details, _COMMAND, {}, work.source, work.reason)
        for alias in work.aliases:
            installation.step_back(alias, work.installers)
            unapply(alias, work.installers)
    names = " and ".join(_NAMES[name] for name in needed)
    command.stdout.write(f"recording goes on, because it was also installed by {names}")


def _agreed(work: _Work) -> bool:
    """Ask at a terminal whether a log with rows is to be deleted."""
    if work.kept_because is not None or not sys.stdin.isatty():
        return True
    question = f"Delete the log of {work.source!r}? --keep-log keeps it. Type 'yes' to continue: "
    return not installation.has_rows(conf.destination()) or input(question) == "yes"


def _remove(command: BaseCommand, work: _Work, slots: Sequence[remains.OwnSlot], left: list[str]) -> bool:
    """Do or print everything, and return whether there was anything to do."""
    lines = 0

    def report(line: str) -> None:
        nonlocal lines
        lines += 1
        command.stdout.write(line)

    if not work.dry_run:
        if work.kept_because is not None:
            # The log says who has ended it.
            who = operator_context(_COMMAND, {"keep_log": True}, work.source, work.reason)
            for slot in slots:
                record_end(worker_config(work.source, slot.name), who)
        for alias in work.aliases:
            # From here on, migrate installs what is missing.
            unapply(alias, work.installers)
    others = _drop_slots(work, slots, report)
    for line in installation.tracked(work.source, work.dry_run):
        report(line)
    for alias in work.aliases:
        for line in _remove_objects(work, alias, left):
            report(line)
    if not work.dry_run:
        # A worker that was started meanwhile may have made one.
        others |= _drop_slots(work, remains.slots_of(work.source), report, may_be_read=True)
    left += others.values()
    return lines > 0


def _drop_slots(
    work: _Work, slots: Sequence[remains.OwnSlot], report: _Report, *, may_be_read: bool = False
) -> dict[str, str]:
    """Drop slots, or say that they would be dropped, and return what to do about those that are left."""
    left = {}
    for slot in slots:
        found = None if work.dry_run else remains.drop_slot(work.source, slot.name)
        if found is None:
            report(f"slot: {slot.name}")
        elif found.is_read and not may_be_read:
            raise CommandError(
                f"a worker reads the slot {slot.name}: stop 'manage.py bemi run', then run this again"
            )
        else:
            left[slot.name] = found.remedy
    return left


def _remove_objects(work: _Work, alias: str, left: list[str]) -> Iterator[str]:
    keeps = work.kept_because is not None or alias != conf.destination()
    found = installation.find(alias, keeps_log=keeps)
    if not work.dry_run:
        installation.remove(found, work.installers, left.append)
    if found.parts:
        yield f"functions, tables and views of the schema _bemi in {alias}"
    if found.log is not None and not found.kept:
        yield f"log: {found.log} in {alias}"
    elif found.log is not None:
        left.append(f"the log {found.log} in {alias}, which is kept: {work.kept_because or 'others use it'}")
    is_dropped, line = remains.drop_compute_role(alias, dry_run=work.dry_run)
    if line is not None and found.parts and line not in left:
        left.append(line)
    elif is_dropped:
        yield f"role: {computation.ROLE}"


def _hint(installers: Sequence[Installer]) -> str:
    hint = f"; the next migrate installs it again, unless {_APP} is removed from INSTALLED_APPS"
    return hint if "django" in installers else ""
