"""``manage.py bemi``: run the worker, bring the database in line."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg2
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections

from bemi_django import conf, grants, tracking
from bemi_django.exceptions import BemiError
from bemi_django.management import asking
from bemi_django.wal.job import Job
from bemi_django.wal.refusal import first_line
from bemi_django.wal.retry import retry
from bemi_django.wal.supervisor import Supervisor
from bemi_django.wal.verification import verify


class Command(BaseCommand):
    help = "Runs and looks after the audit trail."

    def add_arguments(self, parser: CommandParser) -> None:
        subcommands = parser.add_subparsers(dest="subcommand", required=True)
        run = subcommands.add_parser("run", help="write the changes of the WAL to the table changes")
        run.add_argument("--until-current", action="store_true", help="end when the present is reached")
        run.add_argument("--accept-gap", action="store_true", help="record lost history as a gap and go on")
        sync = subcommands.add_parser("sync", help="bring triggers, identity and publication in line")
        sync.add_argument("--dry-run", action="store_true", help="print what would be done")
        retried = subcommands.add_parser(
            "retry-dead-letters", help="read messages again that could not be stored"
        )
        verified = subcommands.add_parser("verify", help="compare the log with the tables, row for row")
        verified.add_argument("tables", nargs="*", metavar="SCHEMA.TABLE", help="only these (default: all)")
        granted = subcommands.add_parser(
            "grants", help="print the SQL that gives worker and readers their rights"
        )
        granted.add_argument(
            "--worker", default="bemi_worker", help="role of bemi run (default: bemi_worker)"
        )
        granted.add_argument(
            "--reader", default="bemi_reader", help="role that reads the log (default: bemi_reader)"
        )
        reverted = subcommands.add_parser("revert", help="undo a request, a transaction or a change")
        asking.add_revert_arguments(reverted)
        blamed = subcommands.add_parser("blame", help="say which change gave an object each of its values")
        blamed.add_argument("object", metavar="APP.MODEL:KEY", help="shop.Product:42; a key of parts: 7,2")
        for subcommand in (blamed, granted, reverted, run, sync, retried, verified):
            subcommand.add_argument(
                "--database",
                default="default",
                choices=tuple(connections),
                help="whose changes (default: default)",
            )

    def handle(self, *args: Any, **options: Any) -> None:
        database = options["database"]
        if not conf.is_source(database):
            self.stdout.write(f"nothing to do: no changes of {database} are recorded")
            return
        try:
            getattr(self, options["subcommand"].replace("-", "_"))(database, options)
        except (BemiError, DatabaseError, psycopg2.Error) as error:
            raise CommandError(first_line(error)) from error

    def run(self, database: str, options: dict[str, Any]) -> None:
        accept_gap = options["accept_gap"] or conf.accept_gap()
        job = _job(database)._replace(accept_gap=accept_gap, publish=lambda: self._publish(database))
        supervisor = Supervisor(job)
        # In a thread: a signal is heard while the worker waits for a server, too.
        with self._log_to_output(), _stopped_by_signals(supervisor), ThreadPoolExecutor(1) as thread:
            written = thread.submit(supervisor.run, until_current=options["until_current"]).result()
        self.stdout.write(f"{written} changes written")

    def _publish(self, database: str) -> None:
        try:
            self.sync(database, {"dry_run": False})
        except DatabaseError as error:
            remedy = "run 'manage.py bemi sync' as the owner of the tables"
            raise CommandError(f"the publication cannot be made: {first_line(error)}: {remedy}") from error
        finally:
            # That of the worker's thread.
            connections[database].close()

    def sync(self, database: str, options: dict[str, Any]) -> None:
        outcome = tracking.sync(database, dry_run=options["dry_run"], report=self.stdout.write)
        if outcome.failed:
            raise CommandError("\n".join(["not done:", *outcome.failed]))
        if not outcome.done:
            self.stdout.write("nothing to do")

    def retry_dead_letters(self, database: str, options: dict[str, Any]) -> None:
        mended, kept = retry(_job(database))
        self.stdout.write(f"{mended} mended, {kept} kept")

    def verify(self, database: str, options: dict[str, Any]) -> None:
        results = []
        for result in verify(_job(database), options["tables"]):
            results.append(result)
            self.stdout.write(str(result))
        wrong = [result.table for result in results if result.differences]
        if wrong:
            raise CommandError(f"the log and {len(wrong)} of {len(results)} tables differ")

    def grants(self, database: str, options: dict[str, Any]) -> None:
        for line in grants.statements(database, options["worker"], options["reader"]):
            self.stdout.write(line)

    def revert(self, database: str, options: dict[str, Any]) -> None:
        asking.revert(self, database, options)

    def blame(self, database: str, options: dict[str, Any]) -> None:
        for line in asking.blame_table(asking.instance_of(options["object"], database)):
            self.stdout.write(line)

    @contextmanager
    def _log_to_output(self) -> Iterator[None]:
        """A worker that says nothing looks dead: log to the output unless the project logs elsewhere."""
        logger = logging.getLogger("bemi_django")
        if logger.hasHandlers():
            yield
            return
        handler = logging.StreamHandler(self.stdout)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        level = logger.level
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.setLevel(level)
            logger.removeHandler(handler)


def _job(database: str) -> Job:
    destination = conf.connection_parameters(conf.destination())
    return Job(conf.connection_parameters(database), destination, conf.slot(database), conf.publication())


@contextmanager
def _stopped_by_signals(supervisor: Supervisor) -> Iterator[None]:
    previous = {number: signal.signal(number, supervisor.stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
