"""``bemi archive``, ``bemi archive query`` and ``bemi import``."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from bemi_django import conf
from bemi_django.events.operator_context import operator_context
from bemi_django.management.archive.answer_output import answer_lines
from bemi_django.management.output.log_output import write_data
from bemi_django.management.reading.disclosed_reading import record_reading
from bemi_django.management.subcommand import INTERRUPTED
from bemi_django.management.verify_command import watching
from bemi_django.masking.contexts import MASK
from bemi_django.masking.sql_literals import redact_literals
from bemi_django.status.units import as_bytes

if TYPE_CHECKING:
    from bemi_django.archive.storing import Stored

_NO_PLACE = "no archive given: add {} DIRECTORY (or s3://bucket/folder), or set BEMI_ARCHIVE"


def archive(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    """Archive the months before another one, or ask the archive.

    Args:
        command: The command, for its output.
        database: Alias of the source whose log gets the record.
        options: ``before``, ``to``, ``keep``, ``reason`` and ``action`` of the command line, and those of
            the action.

    Raises:
        CommandError: An argument is missing or wrong, a package is not installed, or a month stays in the
            log.
        BemiError: A month cannot be archived.
    """
    if options["action"] == "query":
        _query(command, database, options)
        return
    require("pyarrow")
    from bemi_django.archive.archiving import archive_months
    from bemi_django.archive.live_log import open_log
    from bemi_django.archive.location import open_location
    from bemi_django.archive.removal import Remover

    if not options["before"]:
        raise CommandError("say which months: --before 2026-01 archives those before January 2026")
    before = _month(options["before"])
    location = open_location(_place(options["to"], "--to"))
    try:
        with open_log() as log, watching() as watch:
            if before > log.present_month():
                raise CommandError(
                    f"{before} is not over: give the present month or an earlier one to --before"
                )
            months = log.months(before)
            if months:
                details = {"months": [str(month) for month in months], "archive": location.name}
                record_reading(command, "bemi archive", details, database, options["reason"])
            remover = Remover(location, _who(options)) if months and not options["keep"] else None
            stopped = archive_months(
                log,
                location,
                months,
                watch,
                remover,
                lambda stored, is_dropped: command.stdout.write(_line(stored, is_dropped)),
            )
            if remover is not None:
                remover.end(stopped)
    except KeyboardInterrupt:
        message = "interrupted: the same command continues"
        raise CommandError(message, returncode=INTERRUPTED) from None
    if not months:
        command.stdout.write(f"nothing to do: the log has no changes of a month before {before}")
    if stopped:
        raise CommandError("\n".join(stopped))


def import_month(command: BaseCommand, options: dict[str, Any]) -> None:
    """Bring a month back.

    Args:
        command: The command, for its output.
        options: ``month``, ``place`` and ``missing`` of the command line.

    Raises:
        CommandError: An argument is wrong, or a package is not installed.
        BemiError: The month cannot be brought back.
    """
    require("pyarrow")
    from bemi_django.archive.live_log import open_log
    from bemi_django.archive.location import open_location
    from bemi_django.archive.restoring import require_manifest, restore

    month = _month(options["month"])
    location = open_location(_place(options["place"], "--from"))
    manifest = require_manifest(location, month)
    who = operator_context("bemi import", {"month": str(month)}, conf.destination(), options["reason"])
    try:
        with open_log() as log, watching() as watch:
            written = restore(log, location, manifest, watch, options["missing"], who)
    except KeyboardInterrupt:
        raise CommandError("interrupted: nothing was imported", returncode=INTERRUPTED) from None
    if written:
        command.stdout.write(f"{month}: imported: {written:,} changes")
    else:
        command.stdout.write(
            f"{month}: nothing to do, the log has them already: {manifest.changes:,} changes"
        )


def _query(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    require("pyarrow", "duckdb")
    from bemi_django.archive.location import open_location
    from bemi_django.archive.query.asking import asking

    location = open_location(_place(options["place"], "--from"))
    output = "json" if options["json"] else "csv" if options["csv"] else "table"
    with asking(location, conf.table().name, options["sql"]) as answer:
        # Whoever may read the log need not see the values that are asked for.
        details = {"archive": location.name, "query": redact_literals(options["sql"], MASK)}
        record_reading(command, "bemi archive query", details, database, options["reason"])
        for line in answer_lines(answer.columns, answer.rows, output):
            write_data(command.stdout, line)


def _who(options: dict[str, Any]) -> dict[str, Any]:
    arguments = {"before": options["before"]}
    return operator_context("bemi archive", arguments, conf.destination(), options["reason"])


def _line(stored: Stored, is_dropped: bool) -> str:
    manifest = stored.manifest
    what = "archived" if stored.is_new else "is in the archive"
    line = f"{manifest.month}: {what}, {manifest.changes:,} changes in {as_bytes(manifest.size)}"
    return f"{line}; dropped from the log" if is_dropped else line


def require(*packages: str) -> None:
    """Raise CommandError unless packages that the archive needs are installed."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise CommandError(
            f"{' and '.join(missing)} not installed: run pip install 'bemi-django-wal[archive]'"
        )


def _place(given: str | None, option: str) -> str:
    place = given or conf.archive()
    if not place:
        raise CommandError(_NO_PLACE.format(option))
    return place


def _month(text: str) -> Any:
    from bemi_django.archive.month import parse_month

    try:
        return parse_month(text)
    except ValueError as error:
        raise CommandError(str(error)) from None
