"""``bemi run``: the worker and the handlers, in the foreground."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections

from bemi_django import conf
from bemi_django.exceptions import first_line
from bemi_django.handlers import MODULE
from bemi_django.handlers.dispatch import Dispatcher
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.loop.skipping import skip
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.management.log_output import log_to
from bemi_django.metrics.answers import Answers
from bemi_django.metrics.instruments import observe
from bemi_django.metrics.server import serving
from bemi_django.schema import tracking
from bemi_django.wire.lsn import format_lsn

logger = logging.getLogger(__name__)


def run(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    """Write changes and call handlers until a signal comes or, with ``--until-current``, all is done.

    Args:
        command: The command, for its output.
        database: Alias of the source.
        options: ``until_current``, ``accept_gap``, ``handlers``, ``no_handlers``, ``metrics`` and
            ``log_format`` of the command line.

    Raises:
        CommandError: If only handlers are to be called and there are none.
        BemiError: If an error occurs that an administrator has to resolve.
    """
    with log_to(command.stdout, options["log_format"]), _measured(Answers(database), options["metrics"]):
        _run(command, database, options)


def _run(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    dispatcher = Dispatcher(database, [] if options["no_handlers"] else None)
    if options["handlers"]:
        _run_handlers(command, dispatcher, options)
        return
    accept_gap = options["accept_gap"] or conf.accept_gap()
    config = worker_config(database)._replace(
        accept_gap=accept_gap, publish=lambda: _publish(command, database)
    )
    supervisor = Supervisor(config)
    is_to_end = options["until_current"]
    beside = (
        nullcontext() if is_to_end or not dispatcher.has_handlers else dispatcher.meanwhile(supervisor.stop)
    )
    with _stopped_by_signals(supervisor.stop, dispatcher.stop):
        # In a thread, so that a signal is handled while the worker waits for a server.
        with beside, ThreadPoolExecutor(1) as thread:
            written = thread.submit(supervisor.run, until_current=is_to_end).result()
        if is_to_end and dispatcher.has_handlers:
            dispatcher.run_apart(until_current=True)
    command.stdout.write(f"{written} changes written")
    if dispatcher.has_handlers:
        command.stdout.write(f"{dispatcher.handled} changes handled")


def skip_transaction(command: BaseCommand, database: str, lsn: int) -> None:
    """Leave a transaction out of the log that the server cannot send.

    Args:
        command: The command, for its output.
        database: Alias of the source.
        lsn: Where the transaction commits, in bytes.

    Raises:
        BemiError: If it cannot be skipped.
    """
    with log_to(command.stdout):
        skipped = skip(worker_config(database), lsn)
    place = format_lsn(skipped.last)
    if skipped.begin is None:
        command.stdout.write(
            "the server does not tell which transaction it fails at: a GAP was recorded for everything that "
            f"commits from {format_lsn(skipped.first)} to {place}"
        )
    else:
        command.stdout.write(
            f"a GAP was recorded for transaction {skipped.xid}, which commits at {place}: "
            "'manage.py bemi run' continues after it"
        )


def worker_config(database: str) -> WorkerConfig:
    """Return what the worker of a database needs: connections, slot and publication, from the settings.

    Args:
        database: Alias of the source.
    """

    def ask() -> tuple[dict[str, Any], dict[str, Any]]:
        return conf.connection_parameters(database), conf.connection_parameters(conf.destination())

    return WorkerConfig(
        *ask(),
        conf.slot(database),
        conf.publication(),
        failover=conf.slot_failover(),
        ask=ask,
        largest_letter=conf.largest_dead_letter(),
    )


@contextmanager
def _measured(answers: Answers, address: tuple[str, int] | None) -> Iterator[None]:
    """Serve metrics where it is asked for, and give them to OpenTelemetry where that is installed."""
    if find_spec("opentelemetry") is not None:
        observe(answers)
    if address is None:
        yield
        return
    if find_spec("prometheus_client") is None:
        raise CommandError("--metrics needs prometheus-client: install bemi-django-wal[metrics]")
    try:
        listening = serving(answers, *address)
    except OSError as error:
        raise CommandError(
            "cannot listen on {}:{}: {}; give another address to --metrics".format(
                *address, error.strerror or error
            )
        ) from None
    with listening as port:
        logger.info("serving metrics at http://%s:%d/metrics", address[0], port)
        yield


def _run_handlers(command: BaseCommand, dispatcher: Dispatcher, options: dict[str, Any]) -> None:
    if not dispatcher.has_handlers:
        raise CommandError(
            f"there are no handlers: add a function with @on_change to {MODULE}.py of an installed app"
        )
    with _stopped_by_signals(dispatcher.stop):
        handled = dispatcher.run_apart(options["until_current"])
    command.stdout.write(f"{handled} changes handled")


def _publish(command: BaseCommand, database: str) -> None:
    try:
        outcome = tracking.sync(database, report=command.stdout.write)
        if outcome.failed:
            raise CommandError("\n".join(["not done:", *outcome.failed]))
    except DatabaseError as error:
        remedy = "run 'manage.py bemi sync' as the owner of the tables"
        raise CommandError(f"cannot create the publication: {first_line(error)}; {remedy}") from error
    finally:
        # It belongs to the worker's thread.
        connections[database].close()


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
