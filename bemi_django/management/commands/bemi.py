"""``manage.py bemi run`` and ``manage.py bemi sync``."""

from __future__ import annotations

import signal
from typing import Any

import psycopg2
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from bemi_django import conf, tracking
from bemi_django.exceptions import BemiError
from bemi_django.wal.worker import Worker


class Command(BaseCommand):
    help = "Runs and looks after the audit trail."

    def add_arguments(self, parser: CommandParser) -> None:
        subcommands = parser.add_subparsers(dest="subcommand", required=True)
        run = subcommands.add_parser("run", help="write the changes of the WAL to the table changes")
        run.add_argument("--until-current", action="store_true", help="end when the present is reached")
        sync = subcommands.add_parser("sync", help="bring triggers, identity and publication in line")
        sync.add_argument("--dry-run", action="store_true", help="print what would be done")
        for subcommand in (run, sync):
            subcommand.add_argument("--database", default="default", choices=tuple(connections))

    def handle(self, *args: Any, **options: Any) -> None:
        if connections[options["database"]].vendor != "postgresql":
            self.stdout.write(f"{options['database']} is not PostgreSQL: nothing to do")
            return
        try:
            getattr(self, options["subcommand"])(options)
        except (BemiError, psycopg2.Error) as error:
            raise CommandError(str(error).strip()) from error

    def run(self, options: dict[str, Any]) -> None:
        tracking.sync(options["database"])
        worker = Worker(
            conf.connection_parameters(options["database"]),
            conf.connection_parameters(conf.destination()),
            conf.slot(),
            conf.publication(),
        )
        previous = {number: signal.signal(number, worker.stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            written = worker.run(until_current=options["until_current"])
        finally:
            worker.close()
            for number, handler in previous.items():
                signal.signal(number, handler)
        self.stdout.write(f"{written} changes written")

    def sync(self, options: dict[str, Any]) -> None:
        done = tracking.sync(options["database"], dry_run=options["dry_run"])
        for line in done or ["nothing to do"]:
            self.stdout.write(line)
