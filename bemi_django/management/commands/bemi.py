"""``manage.py bemi``: run the worker, keep the database in line with the settings, ask and revert."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar

import psycopg2
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections

from bemi_django import conf, destinations
from bemi_django.alerts import configured as alerts
from bemi_django.exceptions import BemiError, IsStandby, NotInstalled, first_line, sqlstate_of
from bemi_django.handlers.dispatch import Dispatcher
from bemi_django.management import (
    blame_command,
    doctor_command,
    install_command,
    revert_command,
    status_command,
    uninstall_command,
    verify_command,
)
from bemi_django.management.archive import archive_command
from bemi_django.management.arguments import add_subcommands
from bemi_django.management.baseline import baseline_command, restore_command
from bemi_django.management.erasure import erase_command, rewrap_command, subject_command
from bemi_django.management.log_arguments import IGNORE_POLICIES
from bemi_django.management.operator_context import record_command
from bemi_django.management.output.closed_output import ended_with
from bemi_django.management.output.log_output import VisibleOutput
from bemi_django.management.retention import convert_command, prune_command
from bemi_django.management.slot_command import create_slot
from bemi_django.management.subcommand import CHOSEN_LOG, INTERRUPTED, require_text
from bemi_django.management.worker import consume_command, letters_command, skip_command, worker_command
from bemi_django.management.worker.configured_worker import worker_config
from bemi_django.management.worker.stop_signals import interruptible
from bemi_django.retention import rules
from bemi_django.schema import coverage, grants, installed, tracking
from bemi_django.schema.django_commands import lost_objects
from bemi_django.schema.sql import Installer
from bemi_django.time_travel import as_of
from bemi_django.time_travel.moments import parse

# What a standby says: that it takes no writes, and that it writes no WAL.
_READ_ONLY = ("25006", "55000")
_NO_RIGHT = "42501"
# A table, a column or a function that the database does not have.
_UNKNOWN = ("42P01", "42703", "42883")
#: What ``sync`` says of a table that is not tracked any more.
_ENDED = "no triggers: "
#: What works on one log alone, and would do half of what is meant where there are several.
_OF_ONE_LOG = (
    "archive", "convert", "erase", "handlers", "import", "prune", "restore-table", "retry-dead-letters",
    "rewrap-keys", "status", "subject", "verify",
)  # fmt: skip


class Command(BaseCommand):
    """The command ``bemi``, with a private method for each subcommand."""

    help = "Run and manage the audit trail."
    #: For whom ``bemi uninstall`` removes what is installed.
    installers: ClassVar[tuple[Installer, ...]] = ("bemi", "django")

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the subcommands."""
        add_subcommands(parser)
        self._parser = parser

    def handle(self, *args: Any, **options: Any) -> None:
        """Run a subcommand, or print the help if none is given.

        Raises:
            CommandError: With one line that says what went wrong and what to do.
        """
        self.stdout, self.stderr = map(VisibleOutput.of, (self.stdout, self.stderr))
        subcommand = options["subcommand"]
        if subcommand is None:
            self.stdout.write(self._parser.format_help())
            return
        database = options["database"]
        if not conf.is_source(database):
            self.stdout.write(f"nothing to do: no changes of {database} are recorded")
            return
        try:
            require_text(options)
            # A command without a project has an option of its own for its one log.
            log = destinations.choosing(options.get(CHOSEN_LOG))
            with ended_with(self.stdout), log, interruptible():
                if subcommand in _OF_ONE_LOG:
                    destinations.require_choice("which one is meant")
                getattr(self, f"_{subcommand.replace('-', '_')}")(database, options)
        except NotInstalled as error:
            raise CommandError(self._missing(database, error)) from error
        except KeyboardInterrupt:
            # Commands with more to say of it have said it.
            message = "interrupted: the same command can be run again"
            raise CommandError(message, returncode=INTERRUPTED) from None
        except UnicodeEncodeError as error:
            remedy = "use a locale in UTF-8, such as C.UTF-8, and arguments in UTF-8"
            raise CommandError(f"a character has no form in {error.encoding}: {remedy}") from None
        except EOFError:
            raise CommandError("nothing was done: there was no answer to the question") from None
        except (BemiError, DatabaseError, ImproperlyConfigured, psycopg2.Error) as error:
            # A primary that is read-only has an administrator who made it so, and says so.
            is_standby = sqlstate_of(error) in _READ_ONLY and installed.is_standby(database)
            line = first_line(IsStandby() if is_standby else error)
            if sqlstate_of(error) == _NO_RIGHT and line.endswith((" _bemi", f" {conf.table().name}")):
                line += ": use its owner's role, or one that has what 'manage.py bemi grants' prints"
            elif sqlstate_of(error) in _UNKNOWN and subcommand != "as-of":
                line += ": if another version has installed the log, run 'manage.py migrate bemi_django'"
            raise CommandError(line) from error

    def _missing(self, database: str, error: NotInstalled) -> str:
        aliases = dict.fromkeys((database, conf.destination())) if "django" in self.installers else ()
        # Whether they are lost may be nothing that this role can read.
        with suppress(DatabaseError):
            for alias in filter(lost_objects.are_lost, aliases):
                return f"the database objects of bemi_django are missing: run {lost_objects.remedy(alias)}"
        return first_line(error)

    def _install(self, database: str, options: dict[str, Any]) -> None:
        install_command.install(self, database)

    def _uninstall(self, database: str, options: dict[str, Any]) -> None:
        uninstall_command.uninstall(self, database, options, self.installers)

    def _run(self, database: str, options: dict[str, Any]) -> None:
        databases = filter(conf.is_source, connections) if options["all"] else [database]
        worker_command.run(self, list(databases), options)

    def _consume(self, database: str, options: dict[str, Any]) -> None:
        consume_command.consume(self, database, options)

    def _handlers(self, database: str, options: dict[str, Any]) -> None:
        dispatcher = Dispatcher(database)
        if options["retry"]:
            delivered, kept = dispatcher.retry()
            self.stdout.write(f"{delivered} handled, {kept} kept")
            return
        for standing in dispatcher.standings():
            self.stdout.write(str(standing))

    def _sync(self, database: str, options: dict[str, Any]) -> None:
        form = "to do: {}" if options["dry_run"] else "{}"
        outcome = tracking.sync(
            database, dry_run=options["dry_run"], report=lambda line: self.stdout.write(form.format(line))
        )
        ended = [line.removeprefix(_ENDED) for line in outcome.done if line.startswith(_ENDED)]
        if ended and not options["dry_run"]:
            record_command("ended_tracking", {"tables": ended}, "bemi sync", {}, database)
        if outcome.failed:
            raise CommandError("\n".join(["not done:", *outcome.failed]))
        is_slot_new = options["create_slot"] and create_slot(self, database, dry_run=options["dry_run"])
        if not outcome.done and not is_slot_new:
            self.stdout.write("nothing to do")
        self.stdout.write(coverage.summary(coverage.read_coverage(database)))

    def _status(self, database: str, options: dict[str, Any]) -> None:
        status_command.status(self, database, options)

    def _doctor(self, database: str, options: dict[str, Any]) -> None:
        doctor_command.doctor(self, database, worker_config(database), options)

    def _retry_dead_letters(self, database: str, options: dict[str, Any]) -> None:
        letters_command.retry_letters(self, database, options)

    def _skip(self, database: str, options: dict[str, Any]) -> None:
        skip_command.skip_transaction(self, database, options["lsn"], options["reason"])

    def _verify(self, database: str, options: dict[str, Any]) -> None:
        verify_command.compare(self, database, options)

    def _archive(self, database: str, options: dict[str, Any]) -> None:
        archive_command.archive(self, options)

    def _import(self, database: str, options: dict[str, Any]) -> None:
        archive_command.import_month(self, options)

    def _baseline(self, database: str, options: dict[str, Any]) -> None:
        baseline_command.record(self, database, options)

    def _restore_table(self, database: str, options: dict[str, Any]) -> None:
        restore_command.restore(self, database, options)

    def _prune(self, database: str, options: dict[str, Any]) -> None:
        prune_command.remove(self, options)

    def _convert(self, database: str, options: dict[str, Any]) -> None:
        convert_command.convert(self, database, options)

    def _as_of(self, database: str, options: dict[str, Any]) -> None:
        given = list(options["arguments"])
        # Behind the moment, argparse takes it for a part of the command.
        is_behind = given[:1] == [IGNORE_POLICIES]
        given = given[is_behind:]
        name, *arguments = given[given[:1] == ["--"] :] or [""]
        if not name:
            raise CommandError("no command given: add one after --, such as: -- dumpdata app.Model")
        if database != "default":
            arguments.append(f"--database={database}")
        ignore_policies = is_behind or options["ignore_policies"]
        with as_of(parse(options["moment"]), using=database, ignore_policies=ignore_policies):
            # Not self.stdout, which would end each piece of the command's output with a line feed.
            call_command(name, *arguments, stdout=options.get("stdout"), stderr=options.get("stderr"))

    def _grants(self, database: str, options: dict[str, Any]) -> None:
        roles = options["worker"], options["reader"], options["handlers"], options["owner"]
        lines = grants.statements(database, *roles, has_alerts=alerts.are_on())
        for line in (*lines, *rules.grants(options["worker"])):
            self.stdout.write(line)

    def _revert(self, database: str, options: dict[str, Any]) -> None:
        revert_command.revert(self, database, options)

    def _blame(self, database: str, options: dict[str, Any]) -> None:
        for line in blame_command.blame_table(options["object"], database):
            self.stdout.write(line)

    def _erase(self, database: str, options: dict[str, Any]) -> None:
        erase_command.erase_object(self, database, options)

    def _rewrap_keys(self, database: str, options: dict[str, Any]) -> None:
        rewrap_command.rewrap_keys(self, database, options)

    def _subject(self, database: str, options: dict[str, Any]) -> None:
        subject_command.export_subject(self, database, options)
