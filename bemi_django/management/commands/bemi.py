"""``manage.py bemi``: run the worker, keep the database in line with the settings, ask and revert."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar

import psycopg2
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections

from bemi_django import conf, destinations
from bemi_django.alerts import configured as alerts
from bemi_django.exceptions import BemiError, NotInstalled, first_line, of_parameters
from bemi_django.management import (
    doctor_command,
    install_command,
    revert_command,
    status_command,
    sync_command,
    uninstall_command,
    verify_command,
)
from bemi_django.management.archive import archive_command
from bemi_django.management.arguments import add_subcommands
from bemi_django.management.baseline import baseline_command, restore_command
from bemi_django.management.erasure import erase_command, rewrap_command, subject_command
from bemi_django.management.output.closed_output import ended_with
from bemi_django.management.output.error_texts import told_of_command
from bemi_django.management.output.log_output import VisibleOutput
from bemi_django.management.reading import as_of_command, blame_command
from bemi_django.management.retention import convert_command, prune_command
from bemi_django.management.subcommand import CHOSEN_LOG, INTERRUPTED, require_text
from bemi_django.management.worker import (
    consume_command,
    handlers_command,
    letters_command,
    skip_command,
    worker_command,
)
from bemi_django.management.worker.configured_worker import worker_config
from bemi_django.management.worker.stop_signals import interruptible
from bemi_django.retention import rules
from bemi_django.schema import grants
from bemi_django.schema.database_names import about
from bemi_django.schema.django_commands import lost_objects
from bemi_django.schema.sql import Installer

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
                destinations.require_log()
                if subcommand in _OF_ONE_LOG:
                    destinations.require_choice("which one is meant")
                getattr(self, f"_{subcommand.replace('-', '_')}")(database, options)
        except CommandError as error:
            raise CommandError(about(database, str(error)), returncode=error.returncode) from error.__cause__
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
        except (BemiError, DatabaseError, ImproperlyConfigured, psycopg2.Error, UnicodeDecodeError) as error:
            raise CommandError(about(database, told_of_command(error, database, subcommand))) from error
        except Exception as error:
            if (unknown := of_parameters(error)) is None:
                raise
            raise CommandError(first_line(unknown)) from error

    def _missing(self, database: str, error: NotInstalled) -> str:
        aliases = dict.fromkeys((database, conf.destination())) if "django" in self.installers else ()
        # Whether they are lost may be nothing that this role can read.
        with suppress(DatabaseError):
            for alias in filter(lost_objects.are_missing, aliases):
                return f"the database objects of bemi_django are missing: run {lost_objects.remedy(alias)}"
        return first_line(error)

    def _install(self, database: str, options: dict[str, Any]) -> None:
        install_command.install(self, database, options["reason"])

    def _uninstall(self, database: str, options: dict[str, Any]) -> None:
        uninstall_command.uninstall(self, database, options, self.installers)

    def _run(self, database: str, options: dict[str, Any]) -> None:
        databases = filter(conf.is_source, connections) if options["all"] else [database]
        worker_command.run(self, list(databases), options)

    def _consume(self, database: str, options: dict[str, Any]) -> None:
        consume_command.consume(self, database, options)

    def _handlers(self, database: str, options: dict[str, Any]) -> None:
        handlers_command.show_or_retry(self, database, options)

    def _sync(self, database: str, options: dict[str, Any]) -> None:
        sync_command.sync(self, database, options)

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
        archive_command.archive(self, database, options)

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
        as_of_command.run_as_of(self, database, options)

    def _grants(self, database: str, options: dict[str, Any]) -> None:
        roles = options["worker"], options["reader"], options["handlers"], options["owner"]
        lines = grants.statements(database, *roles, has_alerts=alerts.are_on())
        for line in (*lines, *rules.grants(options["worker"])):
            self.stdout.write(line)

    def _revert(self, database: str, options: dict[str, Any]) -> None:
        revert_command.revert(self, database, options)

    def _blame(self, database: str, options: dict[str, Any]) -> None:
        blame_command.print_blame(self, database, options)

    def _erase(self, database: str, options: dict[str, Any]) -> None:
        erase_command.erase_object(self, database, options)

    def _rewrap_keys(self, database: str, options: dict[str, Any]) -> None:
        rewrap_command.rewrap_keys(self, database, options)

    def _subject(self, database: str, options: dict[str, Any]) -> None:
        subject_command.export_subject(self, database, options)
