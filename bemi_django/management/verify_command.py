"""``bemi verify``: compare the log with the tables, and show the progress on a terminal."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from bemi_django import conf, destinations
from bemi_django.events.operator_context import operator_context
from bemi_django.management.subcommand import INTERRUPTED
from bemi_django.management.worker.configured_worker import worker_config
from bemi_django.schema.database_names import database_name, database_option
from bemi_django.schema.replication.slots import slot_of
from bemi_django.seals.anchors import Anchor, read
from bemi_django.seals.verify import verify_chains
from bemi_django.verification.sample import RowSample, parse_sample
from bemi_django.verification.verify import Options, verify
from bemi_django.wire.visible_text import one_line


def add_options(parser: ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument(
        "--sample",
        metavar="5%|ROWS",
        type=_sample,
        help="compare a share, or about a number, of the rows of each table; the next runs with the same "
        "sample compare the others",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue where the last run with the same tables and sample was interrupted, if it was",
    )
    parser.add_argument(
        "--accept",
        action="store_true",
        help="accept the differences that are found: they are no failure until they change",
    )
    parser.add_argument("--reason", metavar="TEXT", help="why they are accepted")
    parser.add_argument(
        "--chain",
        action="store_true",
        help="compare the log with its chains instead: find changes that were edited, removed or inserted",
    )
    parser.add_argument(
        "--anchor",
        metavar="FILE",
        action="append",
        default=[],
        help="with --chain: compare the chains with the anchors of a file; may be given more than once",
    )
    parser.add_argument(
        "--progress",
        metavar="FILE",
        help="with --chain: keep in this file how far it is, and continue there if it was interrupted",
    )


def compare(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    """Compare tracked tables with the log and print what was found of each.

    Args:
        command: The command, for its output.
        database: Alias of the source.
        options: ``tables``, ``sample``, ``resume``, ``accept`` and ``reason`` of the command line.

    Raises:
        CommandError: Tables differ, or could not be compared; the exit status is 1.
        BemiError: The log stands still, or a table is not tracked.
    """
    if options["chain"]:
        _compare_chains(command, options)
        return
    for name in ("anchor", "progress"):
        if options[name]:
            raise CommandError(f"--{name} belongs to --chain: add it")
    if options["reason"] and not options["accept"]:
        raise CommandError("--reason says why differences are accepted: add --accept")
    _require_whole(database, options["tables"])
    accept = None
    if options["accept"]:
        arguments = {"tables": options["tables"]} if options["tables"] else {}
        accept = operator_context("bemi verify", arguments, database, options["reason"])
    results = []
    try:
        with watching() as watch:
            chosen = Options(
                only=options["tables"],
                sample=options["sample"],
                resume=options["resume"],
                accept=accept,
                watch=watch,
            )
            for result in verify(worker_config(database, slot_of(database)), chosen):
                results.append(result)
                command.stdout.write(one_line(str(result)))
    except KeyboardInterrupt:
        message = "interrupted: the same command with --resume continues"
        raise CommandError(message, returncode=INTERRUPTED) from None
    wrong = [result for result in results if not result.is_true]
    if wrong:
        option = database_option(database)
        raise CommandError(
            f"the log and {len(wrong)} of {len(results)} tables differ. After a gap, 'manage.py bemi baseline"
            f"{option}' records the rows as they are; 'manage.py bemi verify{option} --accept' accepts what "
            "you have looked at"
        )


def _require_whole(database: str, tables: list[str]) -> None:
    """Check that the log that is meant has all changes of what is compared.

    Raises:
        CommandError: Another destination has changes, too.
    """
    log, division, name = conf.destination(), destinations.division(), database_name(database)
    if not division.shares or division.of_database(name) == [log]:
        return
    if not tables:
        raise CommandError(
            f"{log!r} does not have all changes of {name} (BEMI_DESTINATIONS): name tables of which it has"
        )
    for table in tables:
        found = division.of_table(name, *table.split(".", 1)) if "." in table else [log]
        if found != [log]:
            raise CommandError(
                f"the changes of {table} are in {' and '.join(found)}: "
                + ("name that one with --destination" if len(found) == 1 else "no log has all of its rows")
            )


def _compare_chains(command: BaseCommand, options: dict[str, Any]) -> None:
    if options["tables"] or options["sample"] or options["resume"] or options["accept"]:
        raise CommandError("--chain compares the whole log: give no tables, and none of the other options")
    given = [anchor for path in options["anchor"] for anchor in read(path)]
    # Chains of several destinations have the same names.
    anchors = [anchor for anchor in given if _is_of_log(anchor)]
    if given and not anchors:
        raise CommandError(f"no anchor is of the destination {conf.destination()!r}: give those that are")
    try:
        with watching() as watch:
            report = verify_chains(anchors, watch, options["progress"])
    except KeyboardInterrupt:
        further = "the same command continues" if options["progress"] else "--progress FILE makes it continue"
        raise CommandError(f"interrupted: {further}", returncode=INTERRUPTED) from None
    lines = [f"sealed changes: {report.changes:,}, in {report.links:,} links"]
    if report.unsealed:
        lines.append(f"changes that were written while nothing was sealed: {report.unsealed:,}")
    if anchors:
        lines.append(f"anchors: {report.anchors:,}")
    if len(given) > len(anchors):
        lines.append(f"anchors of other destinations, which were not compared: {len(given) - len(anchors):,}")
    for line in (*lines, *report.operations, *map(str, report.findings)):
        command.stdout.write(line)
    if report.wrong > len(report.findings):
        command.stdout.write(f"and {report.wrong - len(report.findings):,} others")
    if report.wrong:
        raise CommandError(f"the log and its chains differ in {report.wrong:,} places")


def _is_of_log(anchor: Anchor) -> bool:
    if len(destinations.aliases()) == 1:
        return True
    return (anchor.destination or destinations.first()) == conf.destination()


def _sample(text: str) -> RowSample:
    try:
        return parse_sample(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


@contextmanager
def watching() -> Iterator[Callable[[str, float], None]]:
    """Yield a function that shows, on a terminal, what part of a table was compared, from 0 to 1.

    The bar is on the error output, which is not what a script reads, and away when a table is done.
    """
    console = Console(file=sys.stderr)
    if not (console.is_terminal and sys.stdout.isatty()):
        yield lambda table, part: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=console, transient=True, redirect_stdout=False)
    bars: dict[str, TaskID] = {}

    def watch(table: str, part: float) -> None:
        if part >= 1:
            progress.stop()
            if table in bars:
                progress.remove_task(bars.pop(table))
            return
        if table not in bars:
            bars[table] = progress.add_task(table, total=1.0)
            progress.start()
        progress.update(bars[table], completed=part)

    try:
        yield watch
    finally:
        progress.stop()
