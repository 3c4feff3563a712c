"""``manage.py bemi``: run the worker, bring the database in line."""

from __future__ import annotations

import logging
import signal
from argparse import REMAINDER
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any

import psycopg2
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections

from bemi_django import conf
from bemi_django.exceptions import BemiError, first_line
from bemi_django.handlers import MODULE
from bemi_django.handlers.dispatch import Dispatcher
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.dead_letter_retry import retry
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.management import asking
from bemi_django.schema import grants, tracking
from bemi_django.time_travel import as_of
from bemi_django.time_travel.moments import parse
from bemi_django.verification.verify import verify


class Command(BaseCommand):
    help = "Runs and looks after the audit trail."

    def add_arguments(self, parser: CommandParser) -> None:
        subcommands = parser.add_subparsers(dest="subcommand", required=True)
        run = subcommands.add_parser("run", help="write the changes of the WAL to the table changes")
        run.add_argument("--until-current", action="store_true", help="end when the present is reached")
        run.add_argument("--accept-gap", action="store_true", help="record lost history as a gap and go on")
        parts = run.add_mutually_exclusive_group()
        parts.add_argument(
            "--handlers", action="store_true", help="only call handlers, while another process writes the log"
        )
        parts.add_argument("--no-handlers", action="store_true", help="only write the log, call no handlers")
        handled = subcommands.add_parser("handlers", help="tell how far the handlers of changes are")
        handled.add_argument("--retry", action="store_true", help="hand over what was kept aside once more")
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
        granted.add_argument("--handlers", metavar="ROLE", help="role of bemi run --handlers")
        reverted = subcommands.add_parser("revert", help="undo a request, a transaction or a change")
        asking.add_revert_arguments(reverted)
        blamed = subcommands.add_parser("blame", help="say which change gave an object each of its values")
        blamed.add_argument("object", metavar="APP.MODEL:KEY", help="shop.Product:42; a key of parts: 7,2")
        as_of = subcommands.add_parser("as-of", help="run a command that reads, on the database as it was")
        as_of.add_argument(
            "moment", help="ISO datetime, LSN, transaction id, or the id of a change: the state after it"
        )
        as_of.add_argument(
            "arguments", nargs=REMAINDER, metavar="-- COMMAND ...", help="such as: -- dumpdata app.Model"
        )
        for subcommand in (as_of, blamed, granted, handled, reverted, run, sync, retried, verified):
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
        dispatcher = Dispatcher(database, [] if options["no_handlers"] else None)
        if options["handlers"]:
            self._run_handlers(dispatcher, options["until_current"])
            return
        accept_gap = options["accept_gap"] or conf.accept_gap()
        config = _worker_config(database)._replace(
            accept_gap=accept_gap, publish=lambda: self._publish(database)
        )
        supervisor = Supervisor(config)
        is_to_end = options["until_current"]
        beside = nullcontext() if is_to_end or not dispatcher.has_handlers else dispatcher.meanwhile()
        with self._log_to_output(), _stopped_by_signals(supervisor.stop, dispatcher.stop):
            # In a thread: a signal is heard while the worker waits for a server, too.
            with beside, ThreadPoolExecutor(1) as thread:
                written = thread.submit(supervisor.run, until_current=is_to_end).result()
            if is_to_end and dispatcher.has_handlers:
                dispatcher.run_apart(until_current=True)
        self.stdout.write(f"{written} changes written")
        if dispatcher.has_handlers:
            self.stdout.write(f"{dispatcher.handled} changes handled")

    def _run_handlers(self, dispatcher: Dispatcher, until_current: bool) -> None:
        if not dispatcher.has_handlers:
            raise CommandError(f"there are no handlers: no {MODULE}.py of an installed app has @on_change")
        with self._log_to_output(), _stopped_by_signals(dispatcher.stop):
            handled = dispatcher.run_apart(until_current)
        self.stdout.write(f"{handled} changes handled")

    def handlers(self, database: str, options: dict[str, Any]) -> None:
        dispatcher = Dispatcher(database)
        if options["retry"]:
            delivered, kept = dispatcher.retry()
            self.stdout.write(f"{delivered} handled, {kept} kept")
            return
        for standing in dispatcher.standings():
            self.stdout.write(str(standing))

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
        mended, kept = retry(_worker_config(database))
        self.stdout.write(f"{mended} mended, {kept} kept")

    def verify(self, database: str, options: dict[str, Any]) -> None:
        results = []
        for result in verify(_worker_config(database), options["tables"]):
            results.append(result)
            self.stdout.write(str(result))
        wrong = [result.table for result in results if result.differences]
        if wrong:
            raise CommandError(f"the log and {len(wrong)} of {len(results)} tables differ")

    def as_of(self, database: str, options: dict[str, Any]) -> None:
        name, *arguments = [argument for argument in options["arguments"] if argument != "--"] or [""]
        if not name:
            raise CommandError("name a command behind --, such as: -- dumpdata app.Model")
        if database != "default":
            arguments.append(f"--database={database}")
        with as_of(parse(options["moment"]), using=database):
            call_command(name, *arguments, stdout=self.stdout, stderr=self.stderr)

    def grants(self, database: str, options: dict[str, Any]) -> None:
        roles = options["worker"], options["reader"], options["handlers"]
        for line in grants.statements(database, *roles):
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


def _worker_config(database: str) -> WorkerConfig:
    destination = conf.connection_parameters(conf.destination())
    return WorkerConfig(
        conf.connection_parameters(database), destination, conf.slot(database), conf.publication()
    )


@contextmanager
def _stopped_by_signals(*stops: Callable[[], object]) -> Iterator[None]:
    def stop(*_: object) -> None:
        for each in stops:
            each()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
